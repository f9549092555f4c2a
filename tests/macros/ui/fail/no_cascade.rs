//! The uses of an endpoint with a mistake are no further errors.
use std::time::Duration;

use tachyon::{AsyncCaller, CallError, Caller, Endpoint, endpoints, tachyon_rpc};

mod inner {
    #[tachyon::tachyon_rpc(msg_type = 65535)]
    pub(crate) fn wrong_number(payload: &[u8]) -> &[u8] {
        payload
    }
}
use inner::wrong_number;

#[tachyon_rpc(msg_type = 65536)]
fn wrong_number_too(payload: &[u8]) -> &[u8] {
    payload
}

#[tachyon_rpc(msg_type = 3)]
fn wrong_type(_size: usize, _name: &str) {}

#[tachyon_rpc(msg_type = 65535)]
fn wrong_stream(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

#[tachyon_rpc(msg_type = 5)]
fn wrong_item(_to: u32) -> impl Iterator<Item = usize> {
    [].into_iter()
}

#[tachyon_rpc(msg_type = 6)]
fn item_of_another_type(_to: u32) -> impl Iterator<Item = NotAPayload> {
    [].into_iter()
}

struct NotAPayload;

#[tachyon_rpc(msg_type = 4)]
fn right(_payload: &[u8]) {}

fn uses(caller: &mut Caller) -> Result<(), CallError> {
    let reply = wrong_number::call(caller, b"request")?;
    assert_eq!(reply.len(), 7);
    wrong_type::call(&mut caller.within(Duration::from_secs(1)), 1, "name")?;
    for number in wrong_stream::open(caller, 3)? {
        assert_eq!(number? + 1, 2u32);
    }
    wrong_item::open(caller, 3)?.next();
    item_of_another_type::open(caller, 3)?.next();
    Ok(())
}

async fn uses_from_a_task(caller: AsyncCaller) -> Result<(), CallError> {
    let reply = wrong_number::call_async(&caller, b"request").await?;
    assert_eq!(reply.len(), 7);
    wrong_type::call_async(&caller.within(Duration::from_secs(1)), 1, "name").await
}

fn main() {
    let table = endpoints![wrong_number, wrong_number_too, wrong_type, wrong_stream, wrong_item, item_of_another_type, right];
    assert_eq!(table.len(), 7);
    assert_eq!(wrong_number(b"x"), b"x");
    assert_eq!(wrong_number::MSG_TYPE, <wrong_type as Endpoint>::MSG_TYPE);
    let _ = (uses, uses_from_a_task);
}
