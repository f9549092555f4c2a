use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
struct Echo;

#[tachyon_rpc(msg_type = 2)]
pub(crate) enum Kind {
    One,
}

#[tachyon_rpc(msg_type = 4)]
impl Echo {}

#[tachyon_rpc(msg_type = 5)]
mod inner {}

#[tachyon_rpc(msg_type = 6)]
const NUMBER: u16 = 1;

#[tachyon_rpc(msg_type = 7)]
static PAYLOAD: &[u8] = b"";

#[tachyon_rpc(msg_type = 8)]
type Bytes = Vec<u8>;

#[tachyon_rpc(msg_type = 9)]
use std::fmt;

trait Declared {
    #[tachyon_rpc(msg_type = 10)]
    fn declared(payload: &[u8]) -> Vec<u8>;
}

// The items still exist, so that their uses are no further errors.
fn main() {
    let _ = (Echo, Kind::One, NUMBER, PAYLOAD, Bytes::new());
    fn f(_: &dyn fmt::Debug) {}
    f(&1);
}
