use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = "1")]
fn text(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1.0)]
fn float(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1 + 1)]
fn sum(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1u32)]
fn suffix(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1 2)]
fn two_values(_payload: &[u8]) {}

fn main() {}
