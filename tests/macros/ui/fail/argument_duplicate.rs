use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1, msg_type = 1, crate = tachyon, crate = ::tachyon)]
fn twice(_payload: &[u8]) {}

fn main() {}
