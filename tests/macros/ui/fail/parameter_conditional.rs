use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn conditional(#[cfg(unix)] _payload: &[u8]) {}

fn main() {}
