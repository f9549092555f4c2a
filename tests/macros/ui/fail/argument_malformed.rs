use tachyon::tachyon_rpc;

#[tachyon_rpc(1)]
fn positional(_payload: &[u8]) {}

#[tachyon_rpc(msg_type)]
fn bare(_payload: &[u8]) {}

#[tachyon_rpc(msg_type =)]
fn no_value(_payload: &[u8]) {}

#[tachyon_rpc(msg_type(1))]
fn parentheses(_payload: &[u8]) {}

#[tachyon_rpc(msg_type == 1)]
fn comparison(_payload: &[u8]) {}

#[tachyon_rpc(, msg_type = 1,, )]
fn commas(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 1, crate = "tachyon")]
fn library(_payload: &[u8]) {}

fn main() {}
