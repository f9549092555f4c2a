//! Streams of hostile peers, by hand: a lie ends the one connection with a fault that says so, and nothing else. A
//! message that breaks no rule gets its answer, and the connection goes on.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::path::Path;
use std::time::Duration;

use tachyon::error::Fault;
use tachyon::{CallError, Caller, Dispatcher, ErrorKind, Options, ServeError};
use tachyon_tests::raw_caller::{METADATA, with_metadata};
use tachyon_tests::server::{Running, WAYS, Way};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tachyon_tests::wire::{Connection, RPC, SINK, SOURCE, listener};

const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: u32 = 1;
const FOREVER: u32 = 2;
const UPLOAD: u32 = 3;

const CANCEL: u32 = 2 << 16;
const ITEM: u32 = 3 << 16;
const END: u32 = 4 << 16;
const OPEN: u32 = 0x0100 << 16;
const CELL: u32 = 1 << 16;

/// The bit of a state word of a connection that a fault has ended.
const BROKEN: u64 = 4;

/// The largest window.
const MOST: u64 = 1 << 20;

fn error(kind: ErrorKind) -> u32 {
    (kind as u32) << 16 | 0xFFFF
}

fn dispatcher() -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher
        .register(1, "echo", <[u8]>::to_vec)
        .unwrap()
        .register_stream(2, "forever", |_| 0u32..)
        .unwrap()
        // Takes no item before the first END, as a slow handler does.
        .register_client_stream(3, "upload", |_, items| {
            std::thread::sleep(Duration::from_millis(50));
            items.count() as u64
        })
        .unwrap();
    dispatcher
}

/// One end of a connection by hand.
struct Raw {
    connection: Connection,
    /// The rings that this end sends on, and receives from.
    out: usize,
    sent: u64,
    received: u64,
}

impl Raw {
    fn caller(path: &Path) -> Self {
        Self { connection: Connection::connect(path, RPC, SOURCE).unwrap(), out: 0, sent: 0, received: 0 }
    }

    fn send(&mut self, type_id: u32, call: u64, payload: &[u8]) {
        let ring = &self.connection.rings[self.out];
        wait::until("room", PATIENCE, || self.sent - ring.released().unwrap() < ring.slots());
        ring.publish_as(type_id, self.sent, call, payload).unwrap();
        self.sent += 1;
        // A connection that has ended hears nothing.
        let _ = self.connection.ring();
    }

    /// Takes the next message: its type id and its call.
    fn take(&mut self) -> (u32, u64) {
        let ring = &self.connection.rings[1 - self.out];
        wait::until("a message", PATIENCE, || ring.is_published(self.received).unwrap());
        let message = (ring.type_id(self.received).unwrap(), ring.correlation_id(self.received).unwrap());
        self.received += 1;
        ring.release(self.received).unwrap();
        let _ = self.connection.ring();
        message
    }

    /// Stores credit for the peer, which may park.
    fn grant(&self, cell: u64, granted: u64) {
        self.connection.rings[1 - self.out].grant(cell, granted).unwrap();
        let _ = self.connection.ring();
    }

    /// Waits until the peer grants credit.
    fn await_credit(&self, cell: u64) {
        let ring = &self.connection.rings[self.out];
        wait::until("credit", PATIENCE, || ring.granted(cell).unwrap() > 0);
    }

    fn await_fault(&self, of: &str) {
        let ring = &self.connection.rings[0];
        wait::until(of, PATIENCE, || ring.state().unwrap() & BROKEN != 0);
    }
}

/// A lying caller: its name, its steps on a connection without a stream, and whether a fault is the right one.
type Lie = (&'static str, fn(&mut Raw), fn(&Fault) -> bool);

/// An open stream of the endless endpoint, whose callee has sent the two items that it may.
fn two_items_of(raw: &mut Raw, call: u64) {
    raw.grant(0, 2);
    raw.send(OPEN | FOREVER, call, b"");
    assert_eq!([raw.take(), raw.take()], [(ITEM | FOREVER, call); 2]);
}

fn two_items(raw: &mut Raw) {
    two_items_of(raw, 1);
}

fn is_credit(fault: &Fault) -> bool {
    matches!(fault, Fault::Credit { from: 2, to, .. } if *to == 2 + MOST)
}

fn is_stream(fault: &Fault) -> bool {
    matches!(fault, Fault::Stream { .. })
}

const LIES: [Lie; 9] = [
    ("a credit runs backwards", |raw| (two_items(raw), raw.grant(0, 1)).1, is_credit),
    ("a credit is one too far", |raw| (two_items(raw), raw.grant(0, 3 + MOST)).1, is_credit),
    ("a credit is the largest number", |raw| (two_items(raw), raw.grant(0, u64::MAX)).1, is_credit),
    ("an item of an endpoint without items", |raw| (two_items(raw), raw.send(ITEM | FOREVER, 1, b"x")).1, is_stream),
    ("a second END", |raw| (two_items(raw), raw.send(END, 1, b""), raw.send(END, 1, b"")).2, is_stream),
    (
        "an item after the END",
        |raw| {
            raw.grant(0, 1);
            raw.send(OPEN | UPLOAD, 1, b"");
            raw.send(END | UPLOAD, 1, b"");
            raw.send(ITEM | UPLOAD, 1, b"x");
        },
        is_stream,
    ),
    (
        "items without credit",
        |raw| {
            raw.send(OPEN | UPLOAD, 1, b"");
            raw.await_credit(0);
            let granted = raw.connection.rings[0].granted(0).unwrap();
            (0..=granted).for_each(|_| raw.send(ITEM | UPLOAD, 1, b"x"));
        },
        is_stream,
    ),
    ("a cell in use", |raw| (two_items(raw), raw.send(OPEN | FOREVER, 2, b"")).1, is_stream),
    ("an id in use", |raw| (two_items(raw), raw.send((OPEN + CELL) | FOREVER, 1, b"")).1, is_stream),
];

#[test]
fn a_lie_of_a_caller_ends_its_connection_with_a_fault() {
    for (name, lie, is_right) in LIES {
        let (_folder, path) = socket();
        let running = Running::start(&path, Way::OneCaller, dispatcher());
        let mut raw = Raw::caller(&path);
        lie(&mut raw);
        raw.await_fault(name);
        let ended = running.stopped();
        assert!(matches!(&ended, Err(ServeError::FatalError(fault)) if is_right(fault)), "{name}: {ended:?}");
    }
}

#[test]
fn a_lie_of_a_caller_ends_nothing_else_of_its_server() {
    for way in WAYS.into_iter().filter(|way| !matches!(way, Way::OneCaller)) {
        let (_folder, path) = socket();
        let running = Running::start(&path, way, dispatcher());
        let mut other = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        let stream = other.open(2, b"").unwrap();
        let mut next = 0u32;
        for (name, lie, _) in LIES {
            let mut raw = Raw::caller(&path);
            lie(&mut raw);
            raw.await_fault(name);
            for _ in 0..50 {
                let item = other.next_item_timeout(stream, PATIENCE).unwrap().unwrap();
                assert_eq!(*item, next.to_le_bytes());
                next += 1;
            }
        }
        drop(other);
        running.end();
    }
}

#[test]
fn a_caller_that_breaks_no_rule_is_answered_and_goes_on() {
    for way in WAYS {
        let (_folder, path) = socket();
        let running = Running::start(&path, way, dispatcher());
        let mut raw = Raw::caller(&path);
        // Behind the last cell, and before the first, there is no OPEN.
        raw.send((OPEN + 32 * CELL) | FOREVER, 1, b"");
        assert_eq!(raw.take(), (error(ErrorKind::NoHandler), 1));
        raw.send((OPEN - CELL) | FOREVER, 2, b"");
        assert_eq!(raw.take(), (error(ErrorKind::NoHandler), 2));
        // Metadata: none, malformed, and right.
        raw.send(METADATA | OPEN | FOREVER, 3, b"\xFF\xFF\xFF");
        assert_eq!(raw.take(), (error(ErrorKind::BadRequest), 3));
        raw.send(METADATA | OPEN | FOREVER, 4, &with_metadata(b"", &[("a", "b")]));
        raw.send(CANCEL, 4, b"");
        assert_eq!(raw.take(), (error(ErrorKind::Cancelled), 4));
        // Messages of streams that are not open: under way, for all that the callee knows.
        for route in [ITEM, END, CANCEL] {
            raw.send(route | FOREVER, 4, b"");
            raw.send(route | FOREVER, 77, b"");
        }
        // A credit of 0 says that the stream is about to end. The caller alone waits for that end.
        two_items_of(&mut raw, 8);
        raw.grant(0, 0);
        raw.send(CANCEL, 8, b"");
        assert_eq!(raw.take(), (error(ErrorKind::Cancelled), 8));
        // A flood of cancellations, with a stream in the middle.
        for round in 0..2000 {
            if round == 1000 {
                raw.grant(0, 1);
                raw.send(OPEN | FOREVER, 5, b"");
            }
            raw.send(CANCEL, if round % 2 == 0 { 5 } else { round }, b"");
        }
        let mut last = raw.take();
        if last == (ITEM | FOREVER, 5) {
            last = raw.take();
        }
        assert_eq!(last, (error(ErrorKind::Cancelled), 5));
        raw.send(ECHO, 6, b"after");
        assert_eq!(raw.take(), (ECHO, 6));
        for ring in &raw.connection.rings {
            assert_eq!(ring.state().unwrap(), 0);
            assert_eq!(ring.granted(0).unwrap() & !1, 0, "no credit is left but this caller's own");
        }
        drop(raw);
        let ended = running.stopped();
        assert!(matches!(ended, Ok(()) | Err(ServeError::PeerDead)), "{ended:?}");
    }
}

/// A caller with an open stream, against a callee by hand.
fn caller_against(callee: impl FnOnce(&mut Raw) + Send, caller: impl FnOnce(&mut Caller, u64)) {
    let (_folder, path) = socket();
    let listening = listener(&path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let connection = Connection::accept(&listening, RPC, SINK, 1 << 14).unwrap();
            let mut raw = Raw { connection, out: 1, sent: 0, received: 0 };
            assert_eq!(raw.take(), (OPEN | FOREVER, 1));
            callee(&mut raw);
            wait::until("the caller's end", PATIENCE, || raw.connection.rings[0].state().unwrap() != 0);
        });
        let mut connected = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        let stream = connected.open(2, b"").unwrap();
        caller(&mut connected, stream);
    });
}

fn fault_of<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> Fault {
    match outcome {
        Err(CallError::FatalError(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

#[test]
fn a_lie_of_a_callee_ends_the_connection_with_a_fault() {
    for type_id in [ITEM | FOREVER, END | FOREVER] {
        caller_against(
            |raw| raw.send(type_id, 2, b""),
            |caller, stream| {
                let ended = caller.next_item_timeout(stream, PATIENCE).map(drop);
                assert_eq!(fault_of(ended), Fault::Correlation(2));
            },
        );
    }
    // Items without credit, while their caller waits for another call: 8 are the default of this ring.
    caller_against(
        |raw| (0..9).for_each(|_| raw.send(ITEM | FOREVER, 1, b"")),
        |caller, stream| {
            let ended = caller.call_timeout(1, b"", PATIENCE).map(drop);
            assert_eq!(fault_of(ended), Fault::Stream { correlation_id: stream, type_id: ITEM | FOREVER });
        },
    );
    for lie in [1, 3 + MOST] {
        caller_against(
            |raw| {
                raw.grant(0, 2);
                assert_eq!([raw.take(), raw.take()], [(ITEM | FOREVER, 1); 2]);
                raw.grant(0, lie);
            },
            |caller, stream| {
                let mut sent = 0;
                let ended = loop {
                    match caller.send_item(stream, b"x") {
                        Ok(true) => sent += 1,
                        outcome => break outcome,
                    }
                };
                assert_eq!(fault_of(ended), Fault::Credit { found: lie, from: 2, to: 2 + MOST });
                assert_eq!(sent, 2);
            },
        );
    }
}

#[test]
fn the_last_message_of_a_callee_ends_a_stream_and_the_rest_is_dropped() {
    let errors = [ErrorKind::Aborted, ErrorKind::BadReply, ErrorKind::ReplyTooLarge].map(error);
    for last in [END | FOREVER].into_iter().chain(errors) {
        caller_against(
            |raw| {
                for type_id in [ITEM | FOREVER, last, ITEM | FOREVER, last, END | FOREVER] {
                    raw.send(type_id, 1, &[0, 2]);
                }
                assert_eq!(raw.take(), (ECHO, 2));
                raw.send(ECHO, 2, b"after");
            },
            |caller, stream| {
                assert!(caller.next_item_timeout(stream, PATIENCE).unwrap().is_some());
                let ended = caller.next_item_timeout(stream, PATIENCE).map(|item| item.is_none());
                match ended {
                    Ok(is_end) => assert!(is_end && last == END | FOREVER),
                    Err(CallError::Remote(remote)) => assert_eq!(error(remote.kind), last),
                    Err(other) => panic!("{other:?}"),
                }
                assert_eq!(&*caller.call_timeout(1, b"x", PATIENCE).unwrap(), b"after");
                assert_eq!(caller.outstanding(), 0);
            },
        );
    }
}
