use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 65536)]
fn above(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 99999999999999999999999999999999999999999999)]
fn far_above(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = -1)]
fn negative(_payload: &[u8]) {}

fn main() {}
