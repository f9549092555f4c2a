use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn mutable(_payload: &mut [u8]) {}

fn main() {}
