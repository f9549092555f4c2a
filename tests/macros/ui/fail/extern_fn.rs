use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
extern "C" fn foreign(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 2)]
unsafe extern "C" fn variadic(_payload: &[u8], _: ...) {}

fn main() {}
