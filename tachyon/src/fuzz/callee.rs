//! The callee and the dispatcher, over rings of a caller that sends any request.

use std::cell::RefCell;
use std::time::Duration;

use super::hostile::{CAPACITY, Hostile, attack};
use super::pair::Pair;
use super::scripted_caller::ScriptedCaller;
use crate::dispatch::{Dispatcher, OwnedHandler};
use crate::engine::ErrorKind;
use crate::handshake::Role;
use crate::rpc::{Callee, ServeError};

/// The number of copies of its request that "repeat" returns.
pub(crate) const REPEATED: usize = 8;

const AT_ONCE: Duration = Duration::ZERO;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::new(dispatcher());
}

/// An echo, a typed endpoint, an endpoint that takes a list of `bool`, an endpoint that fails on request, an endpoint
/// whose replies are larger than its requests, and two with streams of replies.
pub(crate) fn dispatcher() -> Dispatcher {
    let double: OwnedHandler<()> =
        Box::new(|(), request, reply| request.read::<u64>(|number| reply.bytes(&number.wrapping_mul(2).to_le_bytes())));
    let any: OwnedHandler<()> = Box::new(|(), request, reply| {
        request.read::<Vec<bool>>(|flags| {
            assert!(flags.iter().all(|flag| u8::from(*flag) < 2));
            reply.bytes(&[u8::from(flags.contains(&true))])
        })
    });
    let mut dispatcher = Dispatcher::default();
    let registered = dispatcher
        .register(1, "echo", <[u8]>::to_vec)
        .and_then(|dispatcher| dispatcher.register_handler(2, "double", double))
        .and_then(|dispatcher| dispatcher.register_handler(3, "any", any))
        .and_then(|dispatcher| dispatcher.register(5, "repeat", |payload: &[u8]| payload.repeat(REPEATED)))
        .and_then(|dispatcher| {
            dispatcher.register(4, "fail", |payload: &[u8]| match payload.first() {
                Some(0) => Err("told to"),
                _ => Ok(vec![1; CAPACITY + 1]),
            })
        })
        .and_then(|dispatcher| dispatcher.register_stream(6, "count", |payload: &[u8]| 0..items(payload)))
        .and_then(|dispatcher| {
            dispatcher.register_stream(7, "fail_after", |payload: &[u8]| {
                let last = items(payload);
                (0..=last).map(move |item| if item < last { Ok(vec![item; CAPACITY / 2]) } else { Err("the last") })
            })
        })
        .map(drop);
    registered.expect("seven numbers");
    dispatcher
}

/// The number of items that a request asks for.
fn items(payload: &[u8]) -> u8 {
    payload.first().map_or(0, |first| first & 15)
}

/// Requests of every route, type and length to a callee that serves with a dispatcher or without, while the caller
/// overwrites the rings.
///
/// As long as the caller overwrites no shared word, every request with a correlation id gets exactly one answer, and a
/// cancellation gets none. Every item of a stream has credit, and every stream has one last message.
pub fn callee(data: &[u8]) {
    DISPATCHER.with_borrow_mut(|dispatcher| attack(data, 2, |hostile| serve(hostile, dispatcher)));
}

fn serve(hostile: &Hostile<'_>, dispatcher: &mut Dispatcher) {
    let mut pair = Pair::new(hostile, Role::Sink);
    let mut callee = Callee::over(&pair.ours);
    let mut peer = ScriptedCaller::new(hostile);
    // An honest caller sends any request and breaks no other rule. In the fuzzer every caller may strike at any load.
    let mut honest = cfg!(not(fuzzing));
    while let Some(step) = hostile.input.next() {
        peer.aim(hostile);
        let outcome = match step & 7 {
            0 => {
                honest = false;
                hostile.strike();
                Ok(())
            }
            1..=3 => {
                peer.ask(hostile, step);
                Ok(())
            }
            4 => {
                peer.drain(honest);
                Ok(())
            }
            5 | 6 => {
                peer.drain(honest);
                pair.ring();
                let outcome = dispatcher.serve_once_timeout(&mut callee, AT_ONCE);
                if honest && peer.lawless && matches!(outcome, Err(ServeError::FatalError(_))) {
                    return;
                }
                outcome
            }
            _ if step == 255 => {
                honest = false;
                pair.die();
                Ok(())
            }
            _ if step == 247 => {
                honest = false;
                pair.say(hostile.input.slice(usize::from(hostile.input.byte())));
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
    if honest && !peer.lawless {
        // A control request or a cancellation ends a turn as well, since its caller has no time.
        for _ in 0..=peer.in_flight() {
            peer.drain(honest);
            pair.ring();
            match dispatcher.serve_once_timeout(&mut callee, AT_ONCE) {
                Ok(())
                | Err(
                    ServeError::NoHandler { .. }
                    | ServeError::Handler(_)
                    | ServeError::TimedOut
                    | ServeError::Interrupted,
                ) => {}
                Err(end) => panic!("{end}"),
            }
        }
        peer.drain(honest);
        assert!(peer.asked.is_empty(), "never answered: {:?}", peer.asked);
    }
}

/// One request without a dispatcher.
fn by_hand(hostile: &Hostile<'_>, callee: &mut Callee, pair: &Pair) -> Result<(), ServeError> {
    let Some(request) = callee.try_serve()? else { return Ok(()) };
    hostile.strike();
    let (id, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
    assert!(payload.len() <= CAPACITY && request.metadata().len() <= CAPACITY);
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
