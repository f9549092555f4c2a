use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
#[tachyon::tachyon_rpc(msg_type = 2)]
fn twice(_payload: &[u8]) {}

fn main() {}
