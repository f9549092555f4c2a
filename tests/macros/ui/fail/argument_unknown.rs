use tachyon::tachyon_rpc;

#[tachyon_rpc(msgtype = 1)]
fn misspelt(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1, timeout = 5, retries = 3)]
fn two_unknown(_payload: &[u8]) {}

fn main() {}
