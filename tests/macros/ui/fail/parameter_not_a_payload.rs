use tachyon::tachyon_rpc;

struct Order;

#[tachyon_rpc(msg_type = 1)]
fn typed(_order: &Order) {}

#[tachyon_rpc(msg_type = 2)]
fn typed_slice(_orders: &[Order]) {}

fn main() {}
