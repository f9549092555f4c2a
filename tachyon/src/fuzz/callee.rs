//! The answering end of RPC and the dispatcher, over rings of a caller that asks what it likes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::hostile::{CAPACITY, Hostile, attack};
use super::pair::Pair;
use crate::dispatch::{Dispatcher, OwnedHandler};
use crate::error::ServeError;
use crate::handshake::Role;
use crate::ring::{Consumer, Producer};
use crate::rpc::{Callee, ErrorKind, RpcError};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CONTROL, ROUTE_DEADLINE, make_type_id, msg_type, route_id};

const AT_ONCE: Duration = Duration::ZERO;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::new(dispatcher());
}

/// An echo, a typed endpoint, one of a slice of what not all bytes are, and one that fails as it is told.
fn dispatcher() -> Dispatcher {
    let double: OwnedHandler<()> =
        Box::new(|(), request, reply| request.read::<u64>(|number| reply.bytes(&number.wrapping_mul(2).to_le_bytes())));
    let any: OwnedHandler<()> = Box::new(|(), request, reply| {
        request.read::<[bool]>(|flags| {
            assert!(flags.iter().all(|flag| u8::from(*flag) < 2));
            reply.bytes(&[u8::from(flags.contains(&true))])
        })
    });
    let mut dispatcher = Dispatcher::default();
    dispatcher.send_error_text(true);
    let registered = dispatcher
        .register(1, "echo", <[u8]>::to_vec)
        .and_then(|dispatcher| dispatcher.register_handler(2, "double", double))
        .and_then(|dispatcher| dispatcher.register_handler(3, "any", any))
        .and_then(|dispatcher| {
            dispatcher.register(4, "fail", |payload: &[u8]| match payload.first() {
                Some(0) => Err("told to"),
                _ => Ok(vec![1; CAPACITY + 1]),
            })
        })
        .map(drop);
    registered.expect("four numbers");
    dispatcher
}

/// Requests of every route, type and length to a callee that serves with a dispatcher or by hand, while the caller
/// writes over the rings.
///
/// As long as the caller writes no shared word behind our back, every request that has a correlation id gets exactly one
/// answer, its own.
pub fn callee(data: &[u8]) {
    DISPATCHER.with_borrow_mut(|dispatcher| attack(data, 2, |hostile| serve(hostile, dispatcher)));
}

fn serve(hostile: &Hostile<'_>, dispatcher: &mut Dispatcher) {
    let mut pair = Pair::new(hostile, Role::Sink);
    let mut callee = Callee::over(&pair.ours);
    let mut requests = Producer::new(Arc::clone(&hostile.rings[0]));
    let mut replies = Consumer::new(Arc::clone(&hostile.rings[1]));
    let mut asked: Vec<(u64, u32)> = Vec::new();
    let mut next: u64 = 1;
    // A caller that plays by the rules up to what it asks: only in a test, since a fuzzer's strikes at any load.
    let mut honest = cfg!(not(fuzzing));
    while let Some(step) = hostile.input.next() {
        hostile.focus[0].set(requests.position());
        hostile.focus[1].set(hostile.rings[1].start().wrapping_add(replies.taken()));
        let outcome = match step & 7 {
            0 => {
                honest = false;
                hostile.strike();
                Ok(())
            }
            1..=3 => {
                let len = usize::from(hostile.input.byte());
                let kind = u16::from(hostile.input.byte());
                let type_id = match step >> 5 {
                    0 | 1 => u32::from(kind & 7),
                    2 | 3 => make_type_id(ROUTE_DEADLINE, kind & 7),
                    4 | 5 => make_type_id(ROUTE_CONTROL, kind & 3),
                    _ => make_type_id(kind, hostile.input.short()),
                };
                let correlation_id = if step & 16 == 0 { next } else { hostile.input.near(next) };
                if requests.try_push(hostile.input.slice(len), type_id, correlation_id) == Ok(true) {
                    asked.push((correlation_id, type_id));
                    next = next.max(correlation_id).wrapping_add(1);
                }
                Ok(())
            }
            4 => {
                drain(&mut replies, &mut asked, honest);
                Ok(())
            }
            5 | 6 => {
                drain(&mut replies, &mut asked, honest);
                pair.ring();
                let waiting = asked.iter().any(|(correlation_id, _)| *correlation_id == 0);
                let outcome = dispatcher.serve_once_timeout(&mut callee, AT_ONCE);
                if honest && waiting && matches!(outcome, Err(ServeError::FatalError(_))) {
                    return;
                }
                outcome
            }
            _ if step == 255 => {
                // Nobody is left to be answered.
                honest = false;
                pair.die();
                Ok(())
            }
            _ => {
                honest = false;
                by_hand(hostile, &mut callee, &pair)
            }
        };
        match outcome {
            Err(ServeError::Forked | ServeError::Io(_) | ServeError::NeedsRuntime { .. }) => {
                panic!("no peer can bring that about: {outcome:?}")
            }
            Err(ServeError::FatalError(fault)) if honest => panic!("{fault} without a lie"),
            _ => {}
        }
    }
    if honest {
        // A control request ends a turn as well, since its caller has no time.
        for _ in 0..=asked.len() {
            drain(&mut replies, &mut asked, honest);
            pair.ring();
            match dispatcher.serve_once_timeout(&mut callee, AT_ONCE) {
                Ok(())
                | Err(
                    ServeError::NoHandler { .. }
                    | ServeError::Handler(_)
                    | ServeError::TimedOut
                    | ServeError::Interrupted,
                ) => {}
                // A request that nobody could be answered.
                Err(ServeError::FatalError(_)) if asked.iter().any(|(id, _)| *id == 0) => return,
                Err(end) => panic!("{end}"),
            }
        }
        drain(&mut replies, &mut asked, honest);
        assert!(asked.is_empty(), "never answered: {asked:?}");
    }
}

/// One request without a dispatcher.
fn by_hand(hostile: &Hostile<'_>, callee: &mut Callee, pair: &Pair) -> Result<(), ServeError> {
    let Some(request) = callee.try_serve()? else { return Ok(()) };
    hostile.strike();
    let (id, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
    assert!(payload.len() <= CAPACITY);
    drop(request);
    pair.ring();
    match payload.first() {
        Some(0..64) => callee.reply(id, msg_type, &payload),
        Some(64..128) => callee.reply_error(id, msg_type, ErrorKind::HandlerFailed, "a text"),
        Some(128..192) => callee.reserve_reply(id, msg_type, payload.len()).map(|mut room| {
            room.copy_from_slice(&payload);
            let _ = room.commit(payload.len());
        }),
        _ => callee.reply(hostile.input.near(id), msg_type, &payload),
    }
}

/// Takes all replies. Those to an honest caller are the answers to its oldest requests.
fn drain(replies: &mut Consumer, asked: &mut Vec<(u64, u32)>, honest: bool) {
    while let Ok(Some(frame)) = replies.try_take() {
        if honest {
            let index = asked.iter().position(|(correlation_id, _)| *correlation_id == frame.correlation_id);
            let (_, request) = asked.remove(index.expect("an answer to nobody"));
            check(request, frame.type_id);
        }
        replies.release(frame.position);
    }
}

/// An answer has its request's message type, or is an error.
fn check(request: u32, reply: u32) {
    if msg_type(reply) == MSG_TYPE_ERROR {
        let error = RpcError::decode(reply, &msg_type(request).to_be_bytes());
        assert!(error.is_some_and(|error| error.kind != ErrorKind::Unspecified || route_id(reply) == 0));
    } else {
        assert_eq!(msg_type(reply), msg_type(request));
    }
}
