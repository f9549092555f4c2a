use tachyon::tachyon_rpc;
use tachyon::dispatch::ReplySlot;

#[tachyon_rpc(msg_type = 1)]
fn both(_payload: &[u8], _reply: ReplySlot<'_>) -> Vec<u8> {
    Vec::new()
}

struct NotAPayload;

#[tachyon_rpc(msg_type = 2)]
fn untyped(_payload: &[u8], _reply: ReplySlot<'_, NotAPayload>) {}

fn main() {}
