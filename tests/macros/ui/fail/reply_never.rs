use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn never(_payload: &[u8]) -> ! {
    loop {}
}

fn main() {}
