use serde::{Deserialize, Serialize};
use tachyon::tachyon_rpc;

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

#[tachyon_rpc]
trait Service {
    #[rpc(msg_type = 3, codec = "msgpack")]
    fn method(&self, plain: Plain) -> Half;
}

fn main() {}
