//! A server with two callers: one asks, lies and writes over its rings as the input says, the other plays by the rules.
#![allow(unreachable_pub, reason = "public for the fuzzer alone; see `crate::fuzz`")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::driven::{Aside, Driven, Next};
use super::service::Blocking;
use super::session::Arrival;
use super::worker::{Tour, Worker};
use crate::connection::Halt;
use crate::connection::{Established, Rx, State, Tx};
use crate::dispatch::{Deferred, Dispatcher, Lent};
use crate::engine::{CallerInfo, ErrorKind, Handled, OpenRequest, Why};
use crate::fuzz::{Hostile, Pair, REPEATED, ScriptedCaller, attack_beside, dispatcher, linked};
use crate::handshake::Role;
use crate::options::Options;
use crate::rpc::Caller;
use crate::rpc::ServeError;
use crate::wait::PollingMode;

/// The number of the echo, and of what makes more of a request.
const ECHO: u16 = 1;
const REPEAT: u16 = 5;

/// Requests of this length on are for [`REPEAT`]: two of its replies fill the ring, so that the third has no room.
const FROM_LONG: usize = 16;

/// Requests of the honest caller under way: fewer than it has slots, so that it never waits for room.
const MOST_UNDER_WAY: usize = 6;

/// Passes after which a worker that looks at everything it is told of has answered a request of an honest caller: one
/// that lets it rest, one that sends what had no room, one that serves.
const PASSES_PER_REQUEST: usize = 4;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::new(dispatcher());
}

/// Requests of every route, type and length to a server, from a caller that writes over its rings, says anything over
/// its socket, leaves its replies and dies when it likes; and short requests, some with long replies, to the same
/// server from a caller that does none of that. The server is served by its own worker, or by a loop that keeps some
/// handlers for later.
///
/// Nothing the first caller does ends the server, or keeps an answer from the second: each of its requests gets its
/// own, and what is left when the server stops gets an error that says so.
pub fn server(data: &[u8]) {
    DISPATCHER.with_borrow_mut(|dispatcher| attack_beside(data, 2, 2, |hostile| serve(hostile, dispatcher)));
}

fn serve(hostile: &Hostile<'_>, dispatcher: &mut Dispatcher) {
    let how = hostile.input.byte();
    let polling = match how & 3 {
        0 => PollingMode::PureSpin,
        1 => PollingMode::Adaptive,
        2 => PollingMode::Spins(1),
        _ => PollingMode::Park,
    };
    let options = Options::new().polling(polling);
    let worker = Worker::new(Arc::new(Control::new(Duration::ZERO)), None, options.clone())
        .expect("an epoll instance and a bell");
    let driven = Driven { worker, publication: None, left: None };
    let mut service = Service { driven, later: Later { requests: Vec::new(), deferring: how & 8 != 0 } };
    let mut liar = Pair::new(hostile, Role::Sink);
    let mut scripted = ScriptedCaller::new(hostile);
    let [beside, theirs] = linked(&hostile.beside, &options);
    let mut neighbour = Neighbour::new(&theirs);
    service.driven.worker.add(Arrival::new(1, &liar.ours, None));
    service.driven.worker.add(Arrival::new(2, &beside, None));
    drop(beside);
    while let Some(step) = hostile.input.next() {
        scripted.aim(hostile);
        match step & 7 {
            0 => hostile.strike(),
            1 | 2 => scripted.ask(hostile, step),
            3 if step == 251 => liar.die(),
            3 if step == 243 => liar.say(hostile.input.slice(usize::from(hostile.input.byte()))),
            3 => {
                scripted.drain(false);
                liar.ring();
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
        for _ in 0..PASSES_PER_REQUEST * MOST_UNDER_WAY {
            let _ = service.driven.refuse_all(dispatcher, &mut service.later);
            neighbour.drain();
        }
        assert!(neighbour.asked.is_empty(), "never told: {:?}", neighbour.asked);
    }
    let held = neighbour.caller.core.tx.producer.in_flight();
    assert_eq!(held, 0, "requests that were answered and not given back");
    service.driven.worker.part_all();
    assert_eq!(neighbour.caller.state(), State::Closed);
}

/// Both callers' server.
struct Service {
    driven: Driven,
    later: Later,
}

/// Requests whose handlers the loop runs later: their callers and numbers, and their bytes.
struct Later {
    requests: Vec<((u64, u64), Vec<u8>)>,
    /// Whether the loop runs the handlers of echoes; otherwise of nothing.
    deferring: bool,
}

impl Aside for Later {
    fn wants(&self, msg_type: u16) -> bool {
        self.deferring && msg_type == ECHO
    }

    fn begin(&mut self, request: &Deferred, payload: Vec<u8>) {
        self.requests.push(((request.caller().id, request.correlation_id()), payload));
    }

    fn cancel(&mut self, request: &Deferred) {
        let of = (request.caller().id, request.correlation_id());
        let at = self.requests.iter().position(|(call, _)| *call == of);
        self.requests.swap_remove(at.expect("what is cancelled has begun and was not answered"));
    }
}

/// A worker that answers at once what the loop hands over; requests may be refused for now.
struct AtOnce<'a> {
    blocking: Blocking<'a, ()>,
    admits: bool,
    later: &'a mut Later,
}

impl crate::engine::Service for AtOnce<'_> {
    type Begun = Deferred;

    fn admit(&self, _: u32, _: usize) -> bool {
        self.admits
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Deferred>, Halt> {
        self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied)
    }

    fn cancel(&mut self, deferred: Deferred, _: Why) {
        self.later.cancel(&deferred);
    }
}

impl Service {
    /// The worker sees to what its `epoll` has.
    fn look(&mut self) {
        self.driven.worker.look(false).expect("no peer can make epoll fail");
    }

    /// One turn for every caller that is polled; requests may be refused for now.
    fn pass(&mut self, dispatcher: &mut Dispatcher, admits: bool) {
        let (desk, state) = dispatcher.exclusive();
        let blocking = Blocking { desk, state: Lent::Exclusive(state), bank: None };
        if admits {
            self.driven.worker.poll_holding();
        }
        let tour = self.driven.worker.tour(&mut AtOnce { blocking, admits, later: &mut self.later });
        let _: Tour = tour.expect("no peer can end a worker");
    }

    /// A turn of the loop's, which takes at most `places` requests for later.
    fn turn(&mut self, dispatcher: &Dispatcher, places: usize) {
        let next = self.driven.turn(dispatcher, places, &mut self.later);
        let _: Next = next.expect("no peer can end a loop");
    }

    /// The loop has run up to `most` handlers, the last first.
    fn answer(&mut self, dispatcher: &Dispatcher, most: usize) {
        for _ in 0..most {
            let Some((call, payload)) = self.later.requests.pop() else { return };
            let outcome = self.driven.answer(dispatcher, call, Ok(payload));
            assert!(!matches!(outcome, Err(ServeError::Forked | ServeError::Io(_))), "{outcome:?}");
        }
    }
}

/// A caller that plays by the rules, over rings that nobody else writes.
struct Neighbour {
    caller: Caller,
    asked: VecDeque<(u64, Vec<u8>)>,
    /// Whether the server has stopped, so that an error which says so is an answer too.
    stopped: bool,
}

impl Neighbour {
    fn new(theirs: &Established) -> Self {
        Self { caller: Caller::over(theirs), asked: VecDeque::new(), stopped: false }
    }

    /// Asks for an echo, or for a long reply, unless many are under way.
    fn ask(&mut self, payload: &[u8]) {
        if self.asked.len() < MOST_UNDER_WAY {
            let (endpoint, times) = if payload.len() < FROM_LONG { (ECHO, 1) } else { (REPEAT, REPEATED) };
            let call = self.caller.start(endpoint, payload).expect("room for a few short requests");
            self.asked.push_back((call, payload.repeat(times)));
        }
    }

    /// Takes the answers that have come, the oldest call's first.
    fn drain(&mut self) {
        while let Some((call, payload)) = self.asked.front() {
            let Some(reply) = self.caller.try_finish(*call).expect("a server that tells no lies") else { return };
            match reply.error() {
                None => assert_eq!(*reply, **payload),
                Some(error) => assert!(self.stopped && error.kind == ErrorKind::Stopping, "{error}"),
            }
            drop(reply);
            self.asked.pop_front();
        }
    }
}
