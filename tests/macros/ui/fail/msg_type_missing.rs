use tachyon::tachyon_rpc;

#[tachyon_rpc]
fn no_list(_payload: &[u8]) {}

#[tachyon_rpc()]
fn empty_list(_payload: &[u8]) {}

#[tachyon_rpc(crate = ::tachyon)]
fn other_argument(_payload: &[u8]) {}

fn main() {}
