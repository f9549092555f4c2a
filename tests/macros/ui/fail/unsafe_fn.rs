use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
unsafe fn dangerous(_payload: &[u8]) {}

fn main() {}
