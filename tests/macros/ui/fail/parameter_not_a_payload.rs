use tachyon::{List, tachyon_rpc};

struct Order;

#[tachyon_rpc(msg_type = 1)]
fn typed(_order: &Order) {}

#[tachyon_rpc(msg_type = 2)]
fn typed_slice(_orders: &[Order]) {}

#[tachyon_rpc(msg_type = 3)]
fn several(_a: u64, _order: &Order, _orders: &[Order], _by_value: Order) -> u64 {
    1
}

#[tachyon_rpc(msg_type = 4)]
fn optional(_order: Option<Order>) {}

#[tachyon_rpc(msg_type = 5)]
fn list(_orders: Vec<Order>, _nested: Vec<Vec<Order>>) {}

fn main() {
    let _: Option<List<'_, String>> = None;
}
