//! A server with two callers: a hostile one that sends and writes to its rings as the input says, and a correct one.
#![allow(unreachable_pub, reason = "public for the fuzzer alone; see `crate::fuzz`")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Hostile, Pair, REPEATED, ScriptedCaller, attack_beside, dispatcher, linked};
use crate::connection::{Established, Halt, Rx, State, Tx};
use crate::dispatch::{Deferred, Detached, Dispatcher};
use crate::engine::{CallerInfo, CancelReason, ErrorKind, Handled, OpenRequest, is_open};
use crate::handshake::Role;
use crate::options::Options;
use crate::rpc::{Caller, ServeError};
use crate::server::control::Control;
use crate::server::poll_schedule::PassResult;
use crate::server::service::{Begun, Blocking};
use crate::server::session::Arrival;
use crate::server::worker::Worker;
use crate::server::{Driven, Next, Offload};
use crate::wait::PollingMode;

/// Message types of the echo, and of the endpoint that repeats its request.
const ECHO: u16 = 1;
const REPEAT: u16 = 5;

/// Requests of this length on are for [`REPEAT`]: two of its replies fill the ring, so that the third has no room.
const FROM_LONG: usize = 16;

/// Most requests of the correct caller in flight: fewer than slots, so that it never waits for room.
const MAX_IN_FLIGHT: usize = 6;

/// Passes with a look at epoll after which a worker has answered a request of the correct caller: one that parks the
/// caller, one that sends a reply without room, one that serves.
const PASSES_PER_REQUEST: usize = 4;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::new(dispatcher());
}

/// Requests of every route, type and length to a server, from a caller that writes over its rings, sends any bytes over
/// its socket, leaves its replies in the ring and dies at any time; and short requests, some with long replies, from a
/// correct caller of the same server. A worker drives the server, or a loop that runs some handlers later.
///
/// The hostile caller cannot end the server, or delay the answers of the correct one: each request of the correct
/// caller gets its answer, and the requests left at a stop get an error reply that says so.
pub fn server(data: &[u8]) {
    DISPATCHER.with_borrow_mut(|dispatcher| attack_beside(data, 2, 2, |hostile| serve(hostile, dispatcher)));
}

fn serve(hostile: &Hostile<'_>, dispatcher: &mut Dispatcher) {
    let how = hostile.input.byte();
    let polling = match how & 3 {
        0 => PollingMode::Spin,
        1 => PollingMode::Adaptive,
        2 => PollingMode::SpinTimes(1),
        _ => PollingMode::Park,
    };
    let options = Options::new().polling(polling);
    let worker = Worker::new(Arc::new(Control::new(Duration::ZERO, 1)), None, options.clone())
        .expect("an epoll instance and a notifier");
    let driven = Driven { worker, publication: None, ended: None };
    let mut service = Service { driven, later: Later { requests: Vec::new(), deferring: how & 8 != 0 } };
    let mut hostile_peer = Pair::new(hostile, Role::Sink);
    let mut scripted = ScriptedCaller::new(hostile);
    let [beside, theirs] = linked(&hostile.beside, &options);
    let mut neighbour = Neighbour::new(&theirs);
    service.driven.worker.add(Arrival::new(1, &hostile_peer.ours, None));
    service.driven.worker.add(Arrival::new(2, &beside, None));
    drop(beside);
    while let Some(step) = hostile.input.next() {
        scripted.aim(hostile);
        match step & 7 {
            0 => hostile.strike(),
            1 | 2 => scripted.ask(hostile, step),
            3 if step == 251 => hostile_peer.die(),
            3 if step == 243 => hostile_peer.say(hostile.input.slice(usize::from(hostile.input.byte()))),
            3 => {
                scripted.drain(false);
                hostile_peer.ring();
            }
            4 => neighbour.ask(hostile.input.slice(usize::from(step >> 3))),
            5 => neighbour.drain(),
            6 if step & 32 == 0 => service.pass(dispatcher, step & 8 == 0),
            6 => service.turn(dispatcher, usize::from(step >> 3 & 3)),
            _ if step & 8 == 0 => service.look(),
            _ => service.answer(dispatcher, usize::from(step >> 4)),
        }
    }
    scripted.aim(hostile);
    if how & 4 == 0 {
        for _ in 0..PASSES_PER_REQUEST * (neighbour.asked.len() + 1) {
            neighbour.drain();
            service.look();
            service.pass(dispatcher, true);
            service.answer(dispatcher, usize::MAX);
        }
        neighbour.drain();
        assert!(neighbour.asked.is_empty(), "never answered: {:?}", neighbour.asked);
    } else {
        service.answer(dispatcher, usize::MAX);
        neighbour.stopped = true;
        for _ in 0..PASSES_PER_REQUEST * MAX_IN_FLIGHT {
            let _ = service.driven.refuse_all(dispatcher, &mut service.later);
            neighbour.drain();
        }
        assert!(neighbour.asked.is_empty(), "never told: {:?}", neighbour.asked);
    }
    let held = neighbour.caller.core.tx.producer.in_flight();
    assert_eq!(held, 0, "requests that were answered and not given back");
    service.driven.worker.disconnect_all();
    assert_eq!(neighbour.caller.state(), State::Closed);
}

/// The server of both callers.
struct Service {
    driven: Driven,
    later: Later,
}

/// Requests whose handlers the loop runs later: caller, correlation id and bytes.
struct Later {
    requests: Vec<((u64, u64), Vec<u8>)>,
    /// Whether the loop runs the handlers of echoes. Otherwise it runs none.
    deferring: bool,
}

impl Offload for Later {
    fn accepts(&self, msg_type: u16) -> bool {
        self.deferring && msg_type == ECHO
    }

    fn start(&mut self, request: &Deferred, payload: Vec<u8>) {
        self.requests.push(((request.caller().id, request.correlation_id()), payload));
    }

    fn cancel(&mut self, request: &Deferred) {
        let of = (request.caller().id, request.correlation_id());
        let at = self.requests.iter().position(|(call, _)| *call == of);
        self.requests.swap_remove(at.expect("a cancelled request has begun and has no answer"));
    }

    fn spawn(&mut self, _: Detached) {
        unreachable!("no endpoint of the table takes items");
    }
}

/// Answers every request in the serving thread, or admits none.
struct Immediate<'a> {
    blocking: Blocking<'a, ()>,
    admits: bool,
    later: &'a mut Later,
}

impl crate::engine::Service for Immediate<'_> {
    type Begun = Begun<Deferred>;

    fn admit(&self, _: u32, _: usize) -> bool {
        self.admits
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt> {
        if is_open(&request.frame) {
            return self.blocking.open(caller, rx, tx, request, None);
        }
        self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied)
    }

    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt> {
        self.blocking.end_stream(tx, stream.stream())
    }

    fn cancel(&mut self, call: Self::Begun, why: CancelReason) {
        match call {
            Begun::Call(deferred) => self.later.cancel(&deferred),
            Begun::Stream(stream) => self.blocking.cancel_stream(&stream, why),
        }
    }
}

impl Service {
    /// The worker handles the events of its `epoll`.
    fn look(&mut self) {
        self.driven.worker.look(false).expect("no peer can make epoll fail");
    }

    /// One pass over the polled callers, which may admit no request.
    fn pass(&mut self, dispatcher: &mut Dispatcher, admits: bool) {
        let (responder, state, shared) = dispatcher.exclusive_with_threads();
        let threads = Arc::clone(&self.driven.worker.control.threads);
        let blocking = Blocking { responder, state, counters: None, shared, threads: &threads };
        if admits {
            self.driven.worker.poll_holding();
        }
        let outcome = self.driven.worker.pass(&mut Immediate { blocking, admits, later: &mut self.later });
        let _: PassResult = outcome.expect("no peer can end a worker");
    }

    /// A turn of the loop, which takes at most `room` requests for later.
    fn turn(&mut self, dispatcher: &Dispatcher, room: usize) {
        let next = self.driven.turn(dispatcher, room, &mut self.later);
        let _: Next = next.expect("no peer can end a loop");
    }

    /// The loop ends up to `most` handlers, the latest first.
    fn answer(&mut self, dispatcher: &Dispatcher, most: usize) {
        for _ in 0..most {
            let Some((call, payload)) = self.later.requests.pop() else { return };
            let outcome = self.driven.answer(dispatcher, call, Ok(payload));
            assert!(!matches!(outcome, Err(ServeError::Forked | ServeError::Io(_))), "{outcome:?}");
        }
    }
}

/// A correct caller, over rings that no other process writes.
struct Neighbour {
    caller: Caller,
    asked: VecDeque<(u64, Vec<u8>)>,
    /// Whether the server has stopped, so that an error reply of kind `Stopping` is an answer too.
    stopped: bool,
}

impl Neighbour {
    fn new(theirs: &Established) -> Self {
        Self { caller: Caller::over(theirs), asked: VecDeque::new(), stopped: false }
    }

    /// Sends a request for an echo, or for a long reply, unless many are in flight.
    fn ask(&mut self, payload: &[u8]) {
        if self.asked.len() < MAX_IN_FLIGHT {
            let (endpoint, times) = if payload.len() < FROM_LONG { (ECHO, 1) } else { (REPEAT, REPEATED) };
            let call = self.caller.start(endpoint, payload).expect("room for a few short requests");
            self.asked.push_back((call, payload.repeat(times)));
        }
    }

    /// Takes the replies in the ring, in the order of the calls.
    fn drain(&mut self) {
        while let Some((call, payload)) = self.asked.front() {
            let Some(reply) = self.caller.try_finish(*call).expect("a correct server") else { return };
            match reply.error() {
                None => assert_eq!(*reply, **payload),
                Some(error) => assert!(self.stopped && error.kind == ErrorKind::Stopping, "{error}"),
            }
            drop(reply);
            self.asked.pop_front();
        }
    }
}
