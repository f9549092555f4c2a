use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 65535)]
fn decimal(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 0xFFFF_u16)]
fn hexadecimal(_payload: &[u8]) {}

fn main() {}
