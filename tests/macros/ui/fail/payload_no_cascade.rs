//! The uses of a payload with a mistake are no further errors.
use tachyon::{CallError, Caller, endpoints, tachyon_rpc};

#[tachyon::payload]
struct Padded {
    kind: u8,
    price: u64,
}

#[tachyon_rpc(msg_type = 1)]
fn one(request: &Padded) -> Padded {
    Padded { kind: request.kind, price: request.price }
}

#[tachyon_rpc(msg_type = 2)]
fn several(requests: &[Padded]) -> Vec<Padded> {
    requests.iter().map(one).collect()
}

fn uses(caller: &mut Caller) -> Result<u64, CallError> {
    let reply = one::call(caller, &Padded { kind: 1, price: 2 })?;
    Ok(reply.price)
}

fn main() {
    assert_eq!(endpoints![one, several].len(), 2);
    let _ = uses;
}
