use tachyon::tachyon_rpc;

struct Order;

#[tachyon_rpc(msg_type = 1)]
fn owned(_payload: Vec<u8>) {}

#[tachyon_rpc(msg_type = 2)]
fn text(_payload: &str) {}

#[tachyon_rpc(msg_type = 3)]
fn by_value(_order: Order) {}

#[tachyon_rpc(msg_type = 4)]
fn borrowed_vector(_orders: &Vec<Order>) {}

#[tachyon_rpc(msg_type = 5)]
fn size(_size: &usize) {}

#[tachyon_rpc(msg_type = 6)]
fn characters(_text: &[char]) {}

#[tachyon_rpc(msg_type = 7)]
fn wide(_number: &u128) {}

#[tachyon_rpc(msg_type = 8)]
fn tuple(_pair: (u8, u8)) {}

#[tachyon_rpc(msg_type = 9)]
fn maybe(_number: &Option<u64>) {}

fn main() {}
