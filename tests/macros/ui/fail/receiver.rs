use tachyon::tachyon_rpc;

struct Service;

impl Service {
    #[tachyon_rpc(msg_type = 1)]
    fn echo(&self, _payload: &[u8]) {}
}

fn main() {}
