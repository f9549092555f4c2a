use tachyon::tachyon_rpc;

struct Order;

#[tachyon_rpc(msg_type = 1)]
fn owned(_payload: Vec<u8>) {}

#[tachyon_rpc(msg_type = 2)]
fn text(_payload: &str) {}

#[tachyon_rpc(msg_type = 3)]
fn typed(_order: &Order) {}

#[tachyon_rpc(msg_type = 4)]
fn typed_slice(_orders: &[Order]) {}

#[tachyon_rpc(msg_type = 5)]
fn nothing(_nothing: ()) {}

#[tachyon_rpc(msg_type = 6)]
fn array(_payload: &[u8; 4]) {}

fn main() {}
