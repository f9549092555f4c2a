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

#[tachyon_rpc(msg_type = 4)]
fn right(_payload: &[u8]) {}

fn uses(caller: &mut Caller) -> Result<(), CallError> {
    let reply = wrong_number::call(caller, b"request")?;
    assert_eq!(reply.len(), 7);
    wrong_type::call(&mut caller.within(Duration::from_secs(1)), 1, "name")?;
    Ok(())
}

async fn uses_from_a_task(caller: AsyncCaller) -> Result<(), CallError> {
    let reply = wrong_number::call_async(&caller, b"request").await?;
    assert_eq!(reply.len(), 7);
    wrong_type::call_async(&caller.within(Duration::from_secs(1)), 1, "name").await
}

fn main() {
    let table = endpoints![wrong_number, wrong_number_too, wrong_type, right];
    assert_eq!(table.len(), 4);
    assert_eq!(wrong_number(b"x"), b"x");
    assert_eq!(wrong_number::MSG_TYPE, <wrong_type as Endpoint>::MSG_TYPE);
    let _ = (uses, uses_from_a_task);
}
