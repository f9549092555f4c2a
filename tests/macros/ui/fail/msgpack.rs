use serde::{Deserialize, Serialize};
use tachyon::dispatch::ReplySlot;
use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1, codec = "cbor")]
fn codec() {}

#[tachyon_rpc(msg_type = 2, codec = msgpack)]
fn word() {}

#[tachyon_rpc(msg_type = 3, codec = "msgpack")]
fn borrowed(_text: &str, _values: &[u8], _order: &Order, _other: Option<&str>) {}

#[tachyon_rpc(msg_type = 4, codec = "msgpack")]
fn slot(_reply: ReplySlot<'_>) {}

#[tachyon_rpc(msg_type = 5, codec = "msgpack")]
fn pattern((_a, _b): (u8, u8)) {}

#[tachyon_rpc(msg_type = 6, codec = "msgpack")]
fn reply() -> &'static str {
    "text"
}

#[tachyon_rpc(msg_type = 9, codec = "msgpack")]
fn reply_inside() -> Result<Option<&'static str>, String> {
    Ok(None)
}

#[tachyon_rpc(msg_type = 7, codec = "msgpack")]
fn alias() -> std::io::Result<u8> {
    Ok(1)
}

#[derive(Serialize, Deserialize)]
struct Order;

#[tachyon_rpc(codec = "msgpack")]
trait Service {
    #[rpc(msg_type = 8, codec = "json")]
    fn method(&self);
}

fn main() {}
