use tachyon::{Context, tachyon_rpc};
use tachyon::dispatch::ReplySlot;

#[tachyon_rpc(msg_type = 1)]
fn nameless(_: u64, name: &str) {}

#[tachyon_rpc(msg_type = 2)]
fn pattern([first, second]: [u8; 2], more: u8) {}

#[tachyon_rpc(msg_type = 3)]
fn option_alone(_: Option<u64>) {}

#[tachyon_rpc(msg_type = 4)]
fn twice(x: u64, _x: u64) {}

#[tachyon_rpc(msg_type = 5)]
fn slot_in_the_middle(_reply: ReplySlot<'_>, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 6)]
fn unmarked_context(_cx: &Context<'_>, _x: u64) {}

#[tachyon_rpc(msg_type = 7)]
fn context_by_value(#[context] _cx: Context<'_>) {}

fn main() {}
