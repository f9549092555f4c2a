use std::fmt::Display;

use tachyon::tachyon_rpc;

struct Price;
struct NotDisplay;

#[tachyon_rpc(msg_type = 1)]
fn number(_payload: &[u8]) -> usize {
    1
}

#[tachyon_rpc(msg_type = 2)]
fn own_type(_payload: &[u8]) -> Price {
    Price
}

#[tachyon_rpc(msg_type = 3)]
fn fallible(_payload: &[u8]) -> Result<Vec<char>, String> {
    Ok(Vec::new())
}

#[tachyon_rpc(msg_type = 4)]
fn error_without_display(_payload: &[u8]) -> Result<Vec<u8>, NotDisplay> {
    Err(NotDisplay)
}

#[tachyon_rpc(msg_type = 5)]
fn opaque(_payload: &[u8]) -> impl Display {
    1
}

#[tachyon_rpc(msg_type = 6)]
fn optional(_payload: &[u8]) -> Option<Price> {
    None
}

#[tachyon_rpc(msg_type = 8)]
fn pair(x: u64) -> (u64, u64) {
    (x, x)
}

#[tachyon_rpc(msg_type = 9)]
fn map(_x: u64) -> Result<std::collections::HashMap<u64, u64>, String> {
    Err(String::new())
}

type Answer = Result<u64, String>;

#[tachyon_rpc(msg_type = 10)]
fn alias(x: u64) -> Answer {
    Ok(x)
}

#[tachyon_rpc(msg_type = 7)]
fn opaque_error(_payload: &[u8]) -> Result<Vec<char>, impl Display> {
    if true { Err("error") } else { Ok(Vec::new()) }
}

fn main() {}
