use tachyon::dispatch::ReplySlot;
use tachyon::{List, tachyon_rpc};

#[tachyon::payload]
struct Scan {
    points: Vec<f64>,
}

#[tachyon_rpc(msg_type = 1)]
async fn text(_text: &str, _maybe: Option<&str>) {}

#[tachyon_rpc(msg_type = 2)]
async fn bytes(_bytes: &[u8]) {}

#[tachyon_rpc(msg_type = 3)]
async fn payloads(_scan: &Scan, _view: ScanRef<'_>, _list: List<'_, String>) {}

#[tachyon_rpc(msg_type = 4)]
async fn slot(_number: u64, reply: ReplySlot<'_>) {
    drop(reply);
}

#[tachyon_rpc(msg_type = 5)]
async fn exclusive(#[state] _state: &mut Vec<u8>) {}

#[tachyon_rpc(msg_type = 6)]
async fn borrowed(#[state] state: &String) -> Result<&str, String> {
    Ok(state)
}

#[tachyon_rpc]
trait Service {
    #[rpc(msg_type = 1)]
    async fn changes(&mut self, number: u64);

    #[rpc(msg_type = 2)]
    async fn borrows(&self, name: &str) -> &str;
}

fn main() {}
