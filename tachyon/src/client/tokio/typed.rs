//! Typed calls from tasks: generated functions are thin layers over these.

use super::caller::AsyncCaller;
use crate::aligned::AlignedBytes;
use crate::rpc::{Body, CallError, Contract, Owned, typed_error, unreadable};
use crate::schema::payload::{Message, Scratch};

/// Calls an endpoint, and awaits its reply as an owned value.
///
/// # Errors
/// As the generated function says.
pub async fn call_async<C: Contract>(
    caller: &AsyncCaller,
    body: impl Body + Sync,
) -> Result<Owned<C>, CallError<C::Error>> {
    match caller.call_signature(C::SIGNATURE, &body).await {
        Ok(reply) => own::<C>(&reply),
        Err(CallError::Remote(error)) => Err(typed_error(error, C::SIGNATURE)),
        Err(error) => Err(error.widen()),
    }
}

/// The value of a reply that the peer can no longer change.
pub(super) fn own<C: Contract>(reply: &[u8]) -> Result<Owned<C>, CallError<C::Error>> {
    let aligned;
    let reply = if reply.as_ptr().addr().is_multiple_of(8) {
        reply
    } else {
        // An allocator may place bytes at any address.
        aligned = AlignedBytes::from(reply);
        &aligned
    };
    let read = C::Reply::read(reply, &mut Scratch::private(), "the reply").map(C::Reply::own);
    read.map_err(|problem| unreadable(C::SIGNATURE, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::describe::Signature;
    use crate::schema::payload::{Form, Undeclared, Value};

    struct Numbers;

    impl Contract for Numbers {
        type Reply = Vec<u64>;
        type Error = Undeclared;
        const SIGNATURE: &'static Signature = {
            static SIGNATURE: Signature = Signature::of(1, "numbers", "", Form::Empty, <Vec<u64> as Value>::FORM, &[]);
            &SIGNATURE
        };
    }

    #[test]
    fn a_reply_at_any_address_is_read() {
        let bytes: Vec<u8> = (0..32).collect();
        let expected = u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15]);
        for shift in 0..8 {
            let mut room = AlignedBytes::zeroed(48);
            room[shift..shift + 32].copy_from_slice(&bytes);
            let numbers = own::<Numbers>(&room[shift..shift + 32]).unwrap();
            assert_eq!((numbers.len(), numbers[1]), (4, expected), "{shift}");
            let error = own::<Numbers>(&room[shift..shift + 31]).unwrap_err();
            assert!(matches!(&error, CallError::BadReply { endpoint, .. } if endpoint == "numbers"), "{error:?}");
        }
        assert!(own::<Numbers>(&[]).unwrap().is_empty());
    }
}
