use tachyon::tachyon_rpc;

mod numbers {
    pub(crate) const RESERVED: u16 = 65535;
}

#[tachyon_rpc(msg_type = numbers::RESERVED)]
fn constant(_payload: &[u8]) {}

fn main() {}
