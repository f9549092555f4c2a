use std::collections::HashMap;

use tachyon::{Request, tachyon_rpc};

struct Order;

#[tachyon_rpc(msg_type = 1)]
fn by_value(_order: Order) {}

#[tachyon_rpc(msg_type = 2)]
fn borrowed_vector(_orders: &Vec<u64>) {}

#[tachyon_rpc(msg_type = 3)]
fn borrowed_string(_name: &String, _more: u8) {}

#[tachyon_rpc(msg_type = 4)]
fn size(_size: &usize) {}

#[tachyon_rpc(msg_type = 5)]
fn characters(_text: &[char]) {}

#[tachyon_rpc(msg_type = 6)]
fn wide(_number: &u128) {}

#[tachyon_rpc(msg_type = 7)]
fn tuple(_pair: (u8, u8)) {}

#[tachyon_rpc(msg_type = 8)]
fn maybe(_number: &Option<u64>) {}

#[tachyon_rpc(msg_type = 9)]
fn map(_map: HashMap<u64, u64>, _more: u8) {}

#[tachyon_rpc(msg_type = 10)]
fn texts(_texts: &[&str]) {}

#[tachyon_rpc(msg_type = 11)]
fn raw(_request: Request<'_>) {}

#[tachyon_rpc(msg_type = 12)]
fn duration(_every: std::time::Duration, _more: u8) {}

fn main() {}
