use tachyon::{ReplySlot, tachyon_rpc};

struct Book;

#[tachyon_rpc(msg_type = 1)]
fn three(_book: &Book, _payload: &[u8], _more: &[u8]) {}

#[tachyon_rpc(msg_type = 2)]
fn three_and_a_slot(_book: &Book, _payload: &[u8], _more: &[u8], _reply: ReplySlot<'_>) {}

#[tachyon_rpc(msg_type = 3)]
fn slot_in_the_middle(_reply: ReplySlot<'_>, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 4)]
fn three_of_wrong_types(_a: u8, _b: u16, _c: u32) {}

fn main() {}
