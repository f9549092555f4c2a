use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
async fn later(_payload: &[u8]) {}

fn main() {}
