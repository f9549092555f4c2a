use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn forever(_payload: &'static [u8]) {}

fn main() {}
