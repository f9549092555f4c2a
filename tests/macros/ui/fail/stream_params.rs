use tachyon::{Items, StreamSender, tachyon_rpc};

struct Chunk;

#[tachyon_rpc(msg_type = 1)]
fn items_twice(_first: Items<u32>, _second: Items<u32>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 2)]
fn sender_twice(_first: StreamSender<u32>, _second: StreamSender<u32>) {}

#[tachyon_rpc(msg_type = 3)]
fn items_before_an_argument(_items: Items<u32>, _name: String) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 4)]
fn sender_before_items(_out: StreamSender<u32>, _items: Items<u32>) {}

#[tachyon_rpc(msg_type = 5)]
fn sender_and_value(_out: StreamSender<u32>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 6)]
async fn sender_and_result(_out: StreamSender<u32>) -> Result<u32, String> {
    Ok(0)
}

#[tachyon_rpc(msg_type = 7)]
fn sender_and_iterator(_out: StreamSender<u32>) -> impl Iterator<Item = u32> {
    0..1
}

#[tachyon_rpc(msg_type = 8)]
fn borrowed_argument(_name: &str, _items: Items<u32>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 9)]
async fn borrowed_item(_items: Items<&str>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 10)]
fn item_that_does_not_travel(_items: Items<usize>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 11)]
fn unknown_item_that_does_not_travel(_items: Items<Chunk>, out: StreamSender<u32>) {
    drop(out);
}

#[tachyon_rpc(msg_type = 12)]
async fn sent_item_that_does_not_travel(out: StreamSender<Chunk>) {
    drop(out);
}

#[tachyon_rpc(msg_type = 13)]
fn exclusive(#[state] _state: &mut Vec<u8>, _items: Items<u32>) {}

#[tachyon_rpc(msg_type = 14, codec = "msgpack")]
fn packed(_items: Items<&str>) -> u32 {
    0
}

#[tachyon_rpc(msg_type = 15)]
fn borrowed_reply(#[state] state: &String, _items: Items<u32>) -> &str {
    state
}

#[tachyon_rpc]
trait Chat {
    #[rpc(msg_type = 1)]
    fn changes(&mut self, items: Items<u32>) -> u32;

    #[rpc(msg_type = 2)]
    fn twice(&self, first: Items<u32>, second: Items<u32>);
}

fn main() {}
