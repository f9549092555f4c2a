use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn owned(_payload: impl AsRef<[u8]>) {}

#[tachyon_rpc(msg_type = 2)]
fn borrowed(_payload: &impl AsRef<[u8]>) {}

fn main() {}
