//! Streams between a core and its caller: the order of their messages, their credit, and every rule that a peer can
//! break.

use core::time::Duration;

use super::*;
use crate::connection::End;
use crate::engine::{CallState, ItemSent, TurnResult};
use crate::metadata::METADATA;
use crate::ring::{CELLS, Fault};
use crate::rpc::{CallError, With};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_OPEN};
use crate::wait::Deadline;

/// For messages that lie in the ring. Only a failing test waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of streams whose OPEN may be held, and of streams whose OPEN is not.
const HELD: u16 = 2;
const OPEN: u16 = 3;

/// An OPEN by hand, for which the caller's side grants nothing.
fn open_by_hand(caller: &mut Caller, cell: u16, call: u64, request: [u8; 2]) {
    send_by_hand(caller, ROUTE_OPEN + cell, call, &request);
}

fn send_by_hand(caller: &mut Caller, route: u16, call: u64, payload: &[u8]) {
    let header = MessageHeader::new(make_type_id(route, OPEN), call);
    assert!(caller.core.tx.try_send(payload, header).unwrap());
}

/// The next message off the reverse ring: its call, its type id, and its first byte.
fn taken_by_hand(caller: &mut Caller) -> Option<(u64, u32, Option<u8>)> {
    let frame = caller.core.rx.try_take().unwrap()?;
    let first = slice::payload(&frame, &caller.core.rx).first().copied();
    caller.core.rx.release(frame.position);
    Some((frame.correlation_id, frame.type_id, first))
}

fn all_by_hand(caller: &mut Caller) -> Vec<(u64, u32, Option<u8>)> {
    core::iter::from_fn(|| taken_by_hand(caller)).collect()
}

fn item(of: u16) -> u32 {
    make_type_id(ROUTE_ITEM, of)
}

fn end(of: u16) -> u32 {
    make_type_id(ROUTE_END, of)
}

/// The fault of a core's next turns.
fn fault_of(core: &mut CalleeCore<Begun>, service: &mut Recorder) -> Fault {
    loop {
        match core.turn(service) {
            Ok(TurnResult::Served) => {}
            Err(Halt::FatalError(fault)) => return fault,
            other => panic!("no fault: {other:?}"),
        }
    }
}

/// A message of the callee, by hand.
fn reply_by_hand(core: &mut CalleeCore<Begun>, type_id: u32, call: u64) {
    assert!(core.tx.try_send(&[7], MessageHeader::new(type_id, call)).unwrap());
}

fn fault_of_caller<T: core::fmt::Debug>(outcome: Result<T, CallError>) -> Fault {
    match outcome {
        Err(CallError::FatalError(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

/// The number of the next item that lies there, or `None` after the last one.
fn next(caller: &mut Caller, stream: u64) -> Option<u8> {
    caller.next_item_timeout(stream, PATIENCE).unwrap().map(|item| item[0])
}

#[test]
fn requests_and_streams_take_turns_and_each_stream_keeps_its_order() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let [first, second] = [caller.open(OPEN, &[3, 0]).unwrap(), caller.open(OPEN, &[2, 0]).unwrap()];
    let calls: Vec<_> = (0..3).map(|_| caller.start(1, b"echo").unwrap()).collect();
    turns(&mut core, &mut service);
    let all = all_by_hand(&mut caller);
    for (stream, count) in [(first, 3), (second, 2)] {
        let of_stream: Vec<_> = all.iter().filter(|message| message.0 == stream).copied().collect();
        let items = (0..count).map(|number| (stream, item(OPEN), Some(number)));
        assert_eq!(of_stream, items.chain([(stream, end(OPEN), None)]).collect::<Vec<_>>());
    }
    assert!(calls.iter().all(|call| all.iter().filter(|message| message.0 == *call).count() == 1));
    let last_call = all.iter().position(|message| message.0 == calls[2]).unwrap();
    assert!(last_call < all.len() - 2, "streams wait for no end of the requests, and requests for no stream: {all:?}");
    assert_eq!(service.ended, [second, first]);
    assert!(core.park().is_some(), "nothing is left to do");
}

#[test]
fn a_callee_sends_a_window_ahead_and_no_more() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let stream = caller.open_with_window(OPEN, &[255, 0], 5);
    turns(&mut core, &mut service);
    assert_eq!(core.tx.producer.in_flight(), 5);
    assert!(core.park().is_some(), "nothing to do until the caller grants more");
    // Copied out while another call is waited for, items stay within the window.
    let call = caller.start(1, b"").unwrap();
    core.unpark();
    turns(&mut core, &mut service);
    drop(caller.finish(call).unwrap());
    turns(&mut core, &mut service);
    assert_eq!((core.tx.producer.in_flight(), caller.core.calls.stream(stream).unwrap().arrived.len()), (0, 5));
    // Taking one grants one, as a quarter of this window is less than two.
    assert_eq!(next(&mut caller, stream), Some(0));
    assert!(core.is_due(), "the parked callee has credit");
    turns(&mut core, &mut service);
    assert_eq!(core.tx.producer.in_flight(), 1);
}

#[test]
fn all_windows_leave_room_and_every_stream_has_one_item() {
    let (_core, mut caller) = core(1 << 12);
    let slots = caller.core.rx.ring().geometry().slots() as u64;
    let streams: Vec<_> = (0..CELLS).map(|_| caller.open_with_window(OPEN, &[0, 0], u32::MAX)).collect();
    let sizes: Vec<_> = streams.iter().map(|id| caller.core.calls.stream(*id).unwrap().window.size()).collect();
    assert_eq!((sizes[0], &sizes[1..]), (slots / 2, &[1; CELLS - 1][..]));
    assert!(matches!(caller.open(OPEN, &[0, 0]), Err(CallError::TooManyStreams { max: CELLS })));
    // A stream that was given up keeps its part until its last message: its items may be under way.
    assert!(caller.forget(streams[0]));
    assert_eq!(caller.core.calls.cells().windows(), slots / 2 + CELLS as u64 - 1);
}

#[test]
fn a_cell_is_free_again_with_the_last_message_and_its_credit_is_taken_back_before() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    for round in 0..100u32 {
        // Alternately by END, and by the answer to a CANCEL.
        let stream = caller.open(OPEN, &[2, TAKES]).unwrap();
        turns(&mut core, &mut service);
        let granted = caller.core.tx.producer.granted(0);
        assert_eq!(granted, 8, "the callee's window, in cell 0 again");
        assert!(caller.send_item(stream, b"x").unwrap());
        if round % 2 == 0 {
            caller.end_items(stream).unwrap();
            turns(&mut core, &mut service);
            assert_eq!([(); 3].map(|()| next(&mut caller, stream)), [Some(0), Some(1), None]);
        } else {
            assert!(caller.forget(stream));
            assert_eq!(caller.core.calls.cells().unused(), Some(1), "in use until the answer");
            turns(&mut core, &mut service);
            assert!(caller.core.next().unwrap().is_none());
        }
        assert_eq!(caller.core.tx.producer.granted(0), 0, "taken back before the last message");
        assert_eq!((caller.core.calls.cells().unused(), caller.core.calls.cells().windows()), (Some(0), 0));
        assert_eq!((caller.outstanding(), caller.core.calls.standing(stream)), (0, CallState::Unknown));
    }
    assert_eq!((service.ended.len(), service.cancelled.len()), (50, 50));
}

/// A flood of streams that are cancelled at once leaves nothing behind on either side.
#[test]
fn a_flood_of_cancelled_streams_leaves_nothing() {
    // Room for an OPEN and a CANCEL of every cell, and for one OPEN more.
    let (mut core, mut caller) = core(1 << 15);
    let mut service = Recorder { places: 0, ..Recorder::default() };
    for round in 0..2000u16 {
        // Every other OPEN is held, since its service has no place.
        while !caller.core.has_cell().unwrap() {
            turns(&mut core, &mut service);
            assert!(caller.core.next().unwrap().is_none());
        }
        let stream = caller.open(HELD + round % 2, &[255, 0]).unwrap();
        assert!(caller.forget(stream));
    }
    turns(&mut core, &mut service);
    assert!(caller.core.next().unwrap().is_none());
    assert!(!core.is_holding());
    assert_eq!(caller.core.calls.cells().windows(), 0);
    assert!(caller.core.calls.take_news().is_empty(), "the caller's driver never asked");
    assert_eq!(service.cancelled.len(), 1000, "held streams had no handler");
    assert!(core.park().is_some(), "nothing is left to do");
}

#[test]
fn streams_that_end_while_their_driver_never_asks_leave_no_news() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    for _ in 0..10 {
        let stream = caller.open(OPEN, &[1, 0]).unwrap();
        let call = caller.start(1, b"").unwrap();
        turns(&mut core, &mut service);
        drop(caller.finish(call).unwrap());
        turns(&mut core, &mut service);
        assert_eq!((next(&mut caller, stream), next(&mut caller, stream)), (Some(0), None));
    }
    let stream = caller.open(OPEN, &[1, 0]).unwrap();
    turns(&mut core, &mut service);
    assert!(caller.core.next().unwrap().is_none());
    assert_eq!(caller.core.calls.take_news(), [stream]);
    assert!(caller.core.calls.take_news().is_empty());
}

#[test]
fn every_kind_of_error_is_a_last_message() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    for kind in ErrorKind::all() {
        // Taken off the ring, and copied out before.
        for copied in [false, true] {
            service.errors.push_back(kind);
            let stream = caller.open(OPEN, &[1, 0]).unwrap();
            turns(&mut core, &mut service);
            if copied {
                assert!(caller.core.next().unwrap().is_none());
            }
            assert_eq!(next(&mut caller, stream), Some(0));
            turns(&mut core, &mut service);
            let ended = caller.next_item_timeout(stream, PATIENCE);
            let is_right = match &ended {
                Err(CallError::Remote(error)) => error.kind == kind,
                Err(CallError::TimedOut { sent: true }) => kind == ErrorKind::DeadlinePassed,
                _ => false,
            };
            assert!(is_right, "{kind:?}: {ended:?}");
            drop(ended);
            assert_eq!(caller.core.calls.cells().unused(), Some(0), "{kind:?}");
        }
    }
    assert_eq!(caller.outstanding(), 0);
}

#[test]
fn an_end_reaches_a_stream_whose_open_is_held() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 0, ..Recorder::default() };
    let stream = caller.open(HELD, &[1, TAKES]).unwrap();
    caller.end_items(stream).unwrap();
    turns(&mut core, &mut service);
    assert!(core.is_holding() && service.ended.is_empty());
    service.places = 1;
    turns(&mut core, &mut service);
    assert_eq!((next(&mut caller, stream), next(&mut caller, stream)), (Some(0), None));
    assert_eq!(service.ended, [stream]);
}

#[test]
fn a_stop_refuses_each_open_that_has_not_begun() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 0, ..Recorder::default() };
    let held = caller.open(HELD, &[1, 0]).unwrap();
    turns(&mut core, &mut service);
    assert!(core.is_holding());
    let unseen = caller.open(HELD, &[1, 0]).unwrap();
    assert!(core.refuse_all(&mut service).unwrap());
    assert!(!core.is_holding());
    let stopping = make_type_id(ErrorKind::Stopping as u16, MSG_TYPE_ERROR);
    for stream in [held, unseen] {
        let (of, type_id, _) = taken_by_hand(&mut caller).unwrap();
        assert_eq!((of, type_id), (stream, stopping));
    }
    assert_no_reply(&mut caller);
}

#[test]
fn a_cancel_of_a_held_open_is_answered() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 0, ..Recorder::default() };
    let stream = caller.open(HELD, &[1, 0]).unwrap();
    turns(&mut core, &mut service);
    assert!(caller.forget(stream));
    turns(&mut core, &mut service);
    assert!(!core.is_holding());
    let (of, type_id, _) = taken_by_hand(&mut caller).unwrap();
    assert_eq!((of, type_id), (stream, make_type_id(ErrorKind::Cancelled as u16, MSG_TYPE_ERROR)));
    assert_no_reply(&mut caller);
    assert_eq!((service.cancelled.len(), service.ended.len()), (0, 0), "no handler ran");
}

#[test]
fn messages_of_a_held_open_that_no_caller_sends_end_the_connection() {
    for (route, ends_before) in [(ROUTE_ITEM, 0), (ROUTE_ITEM, 1), (ROUTE_END, 1)] {
        let (mut core, mut caller) = core(1 << 14);
        let mut service = Recorder { places: 0, ..Recorder::default() };
        let stream = caller.open(HELD, &[1, TAKES]).unwrap();
        for _ in 0..ends_before {
            send_by_hand(&mut caller, ROUTE_END, stream, &[]);
        }
        send_by_hand(&mut caller, route, stream, &[]);
        let fault = fault_of(&mut core, &mut service);
        assert!(matches!(fault, Fault::Stream { correlation_id, .. } if correlation_id == stream), "{fault}");
    }
}

#[test]
fn an_open_with_a_cell_or_an_id_in_use_ends_the_connection() {
    for (cell, call) in [(0, 2), (1, 1)] {
        for held in [false, true] {
            let (mut core, mut caller) = core(1 << 14);
            let mut service = Recorder { places: usize::from(!held), ..Recorder::default() };
            let of = if held { HELD } else { OPEN };
            for (cell, call) in [(0, 1), (cell, call)] {
                let header = MessageHeader::new(make_type_id(ROUTE_OPEN + cell, of), call);
                assert!(caller.core.tx.try_send(&[255, 0], header).unwrap());
            }
            if held {
                turns(&mut core, &mut service);
                service.places = usize::MAX;
            }
            let fault = fault_of(&mut core, &mut service);
            assert!(matches!(fault, Fault::Stream { correlation_id, .. } if correlation_id == call), "{fault}");
            core.cancel_all(&mut service);
            assert_eq!(service.cancelled, [(1, CancelReason::CallerGone)]);
        }
    }
}

/// A route behind the last cell is no OPEN, and metadata that is none is refused: the connection goes on.
#[test]
fn an_open_that_is_none_opens_nothing() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    for (call, type_id) in [
        (1, make_type_id(ROUTE_OPEN + u16::try_from(CELLS).unwrap(), 1)),
        (2, make_type_id(ROUTE_OPEN - 1, 1)),
        (3, METADATA | make_type_id(ROUTE_OPEN, 1)),
    ] {
        // The recorder echoes what the engine takes for no OPEN; a dispatcher refuses it.
        assert!(caller.core.tx.try_send(b"xx", MessageHeader::new(type_id, call)).unwrap());
        turns(&mut core, &mut service);
        assert_eq!(taken_by_hand(&mut caller), Some((call, type_id, Some(b'x'))));
    }
    assert!(core.park().is_some());
}

#[test]
fn items_without_credit_and_messages_after_the_end_end_the_connection() {
    // By the callee's window of 8; the route of the messages, and how many of them are too many.
    for (takes, before, route) in [
        (0, vec![], ROUTE_ITEM),
        (KEEPS, vec![ROUTE_ITEM; 8], ROUTE_ITEM),
        (TAKES, vec![ROUTE_END], ROUTE_ITEM),
        (TAKES, vec![ROUTE_END], ROUTE_END),
    ] {
        let (mut core, mut caller) = core(1 << 14);
        let mut service = Recorder::default();
        // An endless stream, so that END does not end it.
        open_by_hand(&mut caller, 0, 1, [255, takes]);
        turns(&mut core, &mut service);
        let count = before.len();
        for route in before {
            send_by_hand(&mut caller, route, 1, &[]);
        }
        turns(&mut core, &mut service);
        send_by_hand(&mut caller, route, 1, &[]);
        let fault = fault_of(&mut core, &mut service);
        assert!(matches!(fault, Fault::Stream { correlation_id: 1, .. }), "after {count}: {fault}");
    }
}

#[test]
fn a_handler_that_takes_items_grants_as_many_again() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let stream = caller.open(OPEN, &[0, TAKES]).unwrap();
    for number in 0..100u8 {
        turns(&mut core, &mut service);
        assert!(caller.send_item(stream, &[number]).unwrap());
    }
    caller.end_items(stream).unwrap();
    turns(&mut core, &mut service);
    assert_eq!(next(&mut caller, stream), None);
    assert_eq!(*service.received.borrow(), (0..100).map(|number| vec![number]).collect::<Vec<_>>());
}

#[test]
fn messages_of_a_stream_that_has_ended_are_dropped_by_both_ends() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let stream = caller.open(OPEN, &[0, 0]).unwrap();
    turns(&mut core, &mut service);
    // Under way when the stream ended.
    for route in [ROUTE_ITEM, ROUTE_END, ROUTE_CANCEL] {
        send_by_hand(&mut caller, route, stream, &[]);
    }
    turns(&mut core, &mut service);
    assert_eq!(caller.core.tx.producer.in_flight(), 0);
    for type_id in [item(OPEN), end(OPEN), 0, make_type_id(8, MSG_TYPE_ERROR)] {
        reply_by_hand(&mut core, type_id, stream);
    }
    let call = caller.start(1, b"after").unwrap();
    turns(&mut core, &mut service);
    assert_eq!(&*caller.finish(call).unwrap(), b"after");
    assert_eq!(next(&mut caller, stream), None);
    assert_eq!((caller.outstanding(), caller.core.calls.cells().unused()), (0, Some(0)));
}

#[test]
fn messages_of_no_stream_end_the_connection_of_a_caller() {
    for type_id in [item(OPEN), end(OPEN)] {
        let (mut core, mut caller) = core(1 << 14);
        let stream = caller.open(OPEN, &[0, 0]).unwrap();
        reply_by_hand(&mut core, type_id, stream + 1);
        let fault = fault_of_caller(caller.next_item_timeout(stream, PATIENCE));
        assert_eq!(fault, Fault::Correlation(stream + 1));
    }
}

/// Taken in place, copied out, and of a stream that was given up.
#[test]
fn an_item_without_credit_ends_the_connection_of_a_caller() {
    let items = |core: &mut CalleeCore<Begun>, stream| {
        for _ in 0..3 {
            reply_by_hand(core, item(OPEN), stream);
        }
    };
    let of = |stream| Fault::Stream { correlation_id: stream, type_id: item(OPEN) };
    let (mut core1, mut caller) = core(1 << 14);
    let stream = caller.open_with_window(OPEN, &[0, 0], 2);
    items(&mut core1, stream);
    // Each item that is taken in place grants the next one, and the fourth has credit too.
    assert_eq!([(); 3].map(|()| next(&mut caller, stream)), [Some(7); 3]);
    items(&mut core1, stream);
    let call = caller.start(1, b"").unwrap();
    assert_eq!(fault_of_caller(caller.finish_timeout(call, PATIENCE)), of(stream));

    let (mut core2, mut caller) = core(1 << 14);
    let stream = caller.open_with_window(OPEN, &[0, 0], 2);
    assert!(caller.forget(stream));
    items(&mut core2, stream);
    assert!(matches!(caller.core.next(), Err(Halt::FatalError(fault)) if fault == of(stream)));
}

/// The last message may come in the middle of other messages, and a plain reply may be one.
#[test]
fn a_reply_or_an_error_in_the_middle_ends_a_stream() {
    let error = make_type_id(ErrorKind::Aborted as u16, MSG_TYPE_ERROR);
    for last in [u32::from(OPEN), error] {
        let (mut core, mut caller) = core(1 << 14);
        let stream = caller.open(OPEN, &[0, 0]).unwrap();
        for type_id in [item(OPEN), last, item(OPEN), end(OPEN)] {
            reply_by_hand(&mut core, type_id, stream);
        }
        assert_eq!(next(&mut caller, stream), Some(7));
        if last == error {
            assert!(matches!(caller.next_item_timeout(stream, PATIENCE), Err(CallError::Remote(_))));
        } else {
            assert_eq!(next(&mut caller, stream), None);
            assert_eq!(*caller.finish_timeout(stream, PATIENCE).unwrap(), [7]);
        }
        assert!(caller.core.next().unwrap().is_none(), "the rest is dropped");
        assert_eq!((caller.outstanding(), caller.core.calls.cells().unused()), (0, Some(0)));
    }
}

#[test]
fn a_credit_that_runs_backwards_or_too_far_ends_the_connection_of_a_callee() {
    let too_far = 2 + (1 << 20) + 1;
    for lie in [1, too_far, u64::MAX] {
        let (mut core, mut caller) = core(1 << 14);
        let mut service = Recorder::default();
        caller.core.rx.grant(0, 2);
        open_by_hand(&mut caller, 0, 1, [255, 0]);
        turns(&mut core, &mut service);
        assert_eq!(all_by_hand(&mut caller).len(), 2);
        assert!(core.park().is_some());
        caller.core.rx.grant(0, lie);
        assert!(core.is_due(), "a fault is work");
        assert_eq!(fault_of(&mut core, &mut service), Fault::Credit { found: lie, from: 2, to: 2 + (1 << 20) });
        core.cancel_all(&mut service);
        assert_eq!(service.cancelled, [(1, CancelReason::CallerGone)]);
    }
    // The largest credit that a correct caller may grant.
    let (mut core, mut caller) = core(1 << 14);
    caller.core.rx.grant(0, 1 << 20);
    open_by_hand(&mut caller, 0, 1, [255, 0]);
    turns(&mut core, &mut Recorder::default());
    assert_eq!(core.tx.producer.in_flight(), 64, "as many as there are slots");
}

#[test]
fn a_credit_that_runs_backwards_or_too_far_ends_the_connection_of_a_caller() {
    for lie in [1, 2 + (1 << 20) + 1] {
        let (mut core, mut caller) = core(1 << 14);
        let stream = caller.open(OPEN, &[0, KEEPS]).unwrap();
        core.rx.grant(0, 2);
        assert!(caller.send_item(stream, b"").unwrap() && caller.send_item(stream, b"").unwrap());
        core.rx.grant(0, lie);
        let fault = fault_of_caller(caller.send_item(stream, b""));
        assert_eq!(fault, Fault::Credit { found: lie, from: 2, to: 2 + (1 << 20) });
    }
}

#[test]
fn a_caller_that_finds_its_credit_taken_back_waits_for_the_last_message() {
    let (mut core, mut caller) = core(1 << 14);
    let stream = caller.open(OPEN, &[0, KEEPS]).unwrap();
    core.rx.grant(0, 2);
    assert!(caller.send_item(stream, b"").unwrap() && caller.send_item(stream, b"").unwrap());
    // As the callee does before it sends the last message.
    core.rx.reset_credit(0);
    for _ in 0..2 {
        assert_eq!(caller.core.try_send_item(stream, b"").unwrap(), ItemSent::Full);
    }
    let last = MessageHeader::new(make_type_id(0, OPEN), stream);
    core.tx.send_reply(b"", last).unwrap();
    assert!(!caller.send_item(stream, b"").unwrap(), "the stream has ended");
    drop(caller.finish(stream).unwrap());
}

/// An engine that sends an item before it has taken the requests of a caller that has gone would lose them.
#[test]
fn the_last_requests_of_a_caller_are_served_beside_its_streams() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 100, ..Recorder::default() };
    caller.open(OPEN, &[255, 0]).unwrap();
    turns(&mut core, &mut service);
    let calls: Vec<_> = (0..10).map(|_| caller.start(2, b"").unwrap()).collect();
    // Credit, so that the stream has an item to send.
    caller.core.rx.grant(0, 1000);
    drop(caller);
    let ended = loop {
        match core.turn(&mut service) {
            Ok(_) => {}
            Err(halt) => break halt,
        }
    };
    assert!(matches!(ended, Halt::Closed), "{ended:?}");
    assert_eq!(service.begun.iter().map(|(call, _)| *call).collect::<Vec<_>>(), calls);
    core.cancel_all(&mut service);
    assert_eq!(service.cancelled.len(), 10, "the stream ended at its first item");
}

#[test]
fn the_requests_behind_the_cancel_of_a_caller_that_has_gone_are_served() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 100, ..Recorder::default() };
    let stream = caller.open(OPEN, &[255, 0]).unwrap();
    turns(&mut core, &mut service);
    assert!(caller.forget(stream));
    let call = caller.start(2, b"").unwrap();
    drop(caller);
    while core.turn(&mut service).is_ok() {}
    assert_eq!(
        (&service.begun[..], &service.cancelled[..]),
        (&[(call, vec![])][..], &[(stream, CancelReason::Caller)][..])
    );
}

#[test]
fn a_deadline_ends_a_stream_that_its_caller_does_not_read() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    caller.core.rx.grant(0, 1);
    let header =
        MessageHeader::due(make_type_id(ROUTE_OPEN, OPEN), 1, Deadline::after(Duration::from_millis(1)).to_wire());
    assert!(caller.core.tx.try_send(&[255, 0], header).unwrap());
    while service.cancelled.is_empty() {
        turns(&mut core, &mut service);
    }
    assert_eq!(service.cancelled, [(1, CancelReason::Deadline)]);
    let error = make_type_id(ErrorKind::DeadlinePassed as u16, MSG_TYPE_ERROR);
    let all = all_by_hand(&mut caller);
    assert_eq!(all.iter().map(|message| message.1).collect::<Vec<_>>(), [item(OPEN), error]);
}

#[test]
fn a_stop_works_streams_off_and_then_abandons_them() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder { places: 0, ..Recorder::default() };
    let short = caller.open(OPEN, &[3, 0]).unwrap();
    let endless = caller.open(OPEN, &[255, 0]).unwrap();
    let held = caller.open(HELD, &[1, 0]).unwrap();
    for _ in 0..3 {
        core.turn(&mut service).unwrap();
    }
    let waiting = caller.open(OPEN, &[1, 0]).unwrap();
    let mut service = Recorder { places: 1, ..service };
    assert!(core.refuse_all(&mut service).unwrap(), "no request is left");
    assert!(!core.step_streams(&mut service).unwrap(), "an endless stream is open");
    core.abandon(&mut service).unwrap();
    core.shut(&mut service);
    assert_eq!((&service.ended[..], &service.cancelled[..]), (&[short][..], &[(endless, CancelReason::Stop)][..]));
    assert_eq!(core::iter::from_fn(|| next(&mut caller, short)).collect::<Vec<_>>(), [0, 1, 2]);
    for (stream, kind) in [(held, ErrorKind::Stopping), (waiting, ErrorKind::Stopping), (endless, ErrorKind::Cancelled)]
    {
        let ended = loop {
            match caller.next_item_timeout(stream, PATIENCE) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an endless stream ended"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&ended, CallError::Remote(error) if error.kind == kind), "{ended:?}");
    }
    assert_eq!(caller.outstanding(), 0);
}

/// After the last message nothing more may be sent, and before it the callee's items keep coming.
#[test]
fn a_callee_that_has_ended_takes_no_more_items() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let stream = caller.open(OPEN, &[1, TAKES]).unwrap();
    turns(&mut core, &mut service);
    assert!(caller.send_item(stream, b"x").unwrap());
    core.abandon(&mut service).unwrap();
    assert!(caller.core.next().unwrap().is_none());
    assert!(!caller.send_item(stream, b"y").unwrap(), "the stream has ended");
    caller.end_items(stream).unwrap();
    assert_eq!(caller.core.tx.producer.in_flight(), 1, "neither was sent");
    assert_eq!(next(&mut caller, stream), Some(0));
    assert!(matches!(caller.next_item_timeout(stream, PATIENCE), Err(CallError::Remote(_))));
}

#[test]
fn a_lost_connection_ends_its_streams_after_the_items_that_were_published() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let open = caller.open_with_window(OPEN, &[255, 0], 2);
    let ended = caller.open(OPEN, &[1, 0]).unwrap();
    let given_up = caller.open(OPEN, &[255, 0]).unwrap();
    turns(&mut core, &mut service);
    assert!(caller.core.end(given_up, false));
    drop(core);
    caller.core.replace(None, &End::PeerDead);
    let cells = caller.core.calls.cells();
    assert_eq!((cells.unused(), cells.windows()), (Some(0), 0), "no stream of the new connection is open");
    assert_eq!(caller.core.calls.standing(given_up), CallState::Unknown);
    assert!(!caller.send_item(open, b"").unwrap_or(false));
    assert_eq!((next(&mut caller, open), next(&mut caller, open)), (Some(0), Some(1)));
    assert!(matches!(caller.next_item_timeout(open, PATIENCE), Err(CallError::PeerDead { .. })));
    assert_eq!((next(&mut caller, ended), next(&mut caller, ended)), (Some(0), None));
    let cells = caller.core.calls.cells();
    assert_eq!((caller.outstanding(), cells.unused(), cells.windows()), (0, Some(0), 0));
}

impl Caller {
    /// Opens a stream whose callee may send `window` items ahead.
    fn open_with_window(&mut self, msg_type: u16, request: &[u8], window: u32) -> u64 {
        With::new(self).window(window).open(msg_type, request).unwrap()
    }
}

#[test]
fn a_send_that_finds_the_callee_gone_leaves_what_it_published() {
    let (mut core, mut caller) = core(1 << 14);
    let mut service = Recorder::default();
    let stream = caller.open(OPEN, &[2, TAKES]).unwrap();
    turns(&mut core, &mut service);
    drop(core);
    for _ in 0..2 {
        assert!(!caller.send_item(stream, b"late").unwrap());
        caller.end_items(stream).unwrap();
    }
    assert_eq!([next(&mut caller, stream), next(&mut caller, stream)], [Some(0), Some(1)]);
    assert!(matches!(caller.next_item(stream), Err(CallError::Closed { .. })));
    assert_eq!(caller.outstanding(), 0);
}
