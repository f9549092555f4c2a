use serde::{Deserialize, Serialize};
use tachyon::{Items, StreamSender, tachyon_rpc};

struct Plain;

#[derive(Serialize)]
struct Half;

#[derive(Serialize, Deserialize)]
struct Whole;

struct Silent;

#[tachyon_rpc(msg_type = 1, codec = "msgpack")]
fn arguments(_plain: Plain, _half: Vec<Half>, _whole: Whole) {}

#[tachyon_rpc(msg_type = 2, codec = "msgpack")]
fn reply() -> Result<Plain, Silent> {
    unimplemented!()
}

#[tachyon_rpc(msg_type = 4, codec = "msgpack")]
fn items() -> impl Iterator<Item = Plain> {
    [Plain].into_iter()
}

#[tachyon_rpc(msg_type = 5, codec = "msgpack")]
fn takes(items: Items<Plain>, out: StreamSender<Silent>) {
    drop((items, out));
}

#[tachyon_rpc]
trait Service {
    #[rpc(msg_type = 3, codec = "msgpack")]
    fn method(&self, plain: Plain) -> Half;
}

fn main() {}
