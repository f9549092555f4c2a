use tachyon::tachyon_rpc;

const WIDE: u32 = 1;

#[tachyon_rpc(msg_type = WIDE)]
fn wide(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = MISSING)]
fn missing(_payload: &[u8]) {}

fn main() {}
