use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn none() {}

#[tachyon_rpc(msg_type = 2)]
fn two(_payload: &[u8], _more: &[u8]) {}

#[tachyon_rpc(msg_type = 3)]
fn three_of_wrong_types(_a: u8, _b: u16, _c: u32) {}

fn main() {}
