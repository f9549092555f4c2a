//! Serves a callee that has one caller, while streams are open.
//!
//! Without open streams a callee takes the short way through [`take_one`](crate::engine::take_one).

use super::dispatcher::Dispatcher;
use super::responder::{Deferring, RequestContext, Runs, place};
use super::stream::ServedStream;
use crate::connection::{Halt, Rx, Tx, Unsent};
use crate::dispatch::Outcome;
use crate::engine::{
    CalleeStreams, CallerInfo, ErrorBody, ErrorKind, OpenRequest, OpenStream, Stepped, StreamEnd, is_cancel, is_open,
    is_plain, is_stream_message, open_current, open_metadata, send_error, serve_current,
};
use crate::rpc::ServeError;
use crate::wait::Deadline;

type Streams = CalleeStreams<Box<ServedStream>>;

/// Turns between two questions for an interrupt, each of which may take as long as an item of a slow iterator.
const TURNS_PER_QUESTION: u32 = 16;

impl<S: ?Sized> Dispatcher<S> {
    /// Serves the current frame, which opens a stream, and all requests and streams until no stream is open. Failures
    /// go to the failure hook.
    ///
    /// # Errors
    /// The connection has ended, or the wait was interrupted: handlers of open streams are dropped.
    #[cold]
    pub(super) fn serve_streams(&mut self, rx: &mut Rx, tx: &mut Tx) -> Result<(), Box<ServeError>> {
        let mut streams = Streams::new();
        let waited = tx.never_wait();
        let outcome = self.serve_beside(&mut streams, rx, tx);
        let kind = match outcome {
            Err(Halt::Closed | Halt::PeerDead) => Outcome::CallerGone,
            _ => Outcome::Failed(ErrorKind::Cancelled),
        };
        while let Some(stream) = streams.pop(rx) {
            // After an interrupt the caller is still there, and waits. After any other end nothing can be sent.
            drop(refuse(&stream, tx, ErrorKind::Cancelled));
            self.leave(&stream, kind);
        }
        tx.set_never_waits(waited);
        outcome.map_err(|halt| Box::new(halt.into()))
    }

    fn serve_beside(&mut self, streams: &mut Streams, rx: &mut Rx, tx: &mut Tx) -> Result<(), Halt> {
        self.open_stream_by(streams, rx, tx)?;
        let mut turns = 0u32;
        while !streams.is_empty() {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS_PER_QUESTION) {
                // Beside a stream whose caller keeps up there is no wait, which would ask for an interrupt.
                rx.check_deadline(Deadline::never())?;
            }
            let requested = self.serve_request_beside(streams, rx, tx)?;
            if !self.step(streams, rx, tx)? && !requested {
                wait_beside(streams, rx, tx)?;
            }
        }
        Ok(())
    }

    /// Serves the next message of the forward ring; false when there is none.
    fn serve_request_beside(&mut self, streams: &mut Streams, rx: &mut Rx, tx: &mut Tx) -> Result<bool, Halt> {
        // A look for a frame waits until the item before has left this core: its words are written one by one.
        let may_have = rx.consumer.has_changed() || rx.connection.peer.was_gone();
        if !may_have || tx.is_overfull() || !rx.try_take_current()? {
            return Ok(false);
        }
        if !is_plain(&rx.current) {
            open_metadata(rx);
        }
        if is_open(&rx.current) {
            self.open_stream_by(streams, rx, tx)?;
        } else if is_stream_message(&rx.current) {
            open_current(rx)?;
            streams.take(rx)?;
            rx.release_current();
        } else if is_cancel(&rx.current) {
            open_current(rx)?;
            let call = rx.current.correlation_id;
            rx.release_current();
            if let Some(stream) = streams.take_out(call, rx) {
                refuse(&stream, tx, ErrorKind::Cancelled)?;
                self.leave(&stream, Outcome::Failed(ErrorKind::Cancelled));
            }
        } else {
            let (responder, state) = self.exclusive();
            let outcome = serve_current(rx, tx, |rx, tx, frame, deadline| {
                responder.answer::<{ place::BESIDE_STREAMS }>(
                    state,
                    &RequestContext::default(),
                    rx,
                    tx,
                    frame,
                    deadline,
                )
            });
            self.report(outcome)?;
        }
        Ok(true)
    }

    /// Opens a stream by the current frame.
    fn open_stream_by(&mut self, streams: &mut Streams, rx: &mut Rx, tx: &mut Tx) -> Result<(), Halt> {
        let deadline = open_current(rx)?;
        let frame = rx.current;
        let cell = streams.check_open(&frame, rx)?;
        let caller = CallerInfo::new(1, &rx.connection.peer);
        let (responder, state, shared) = self.exclusive_with_threads();
        let request = OpenRequest { frame, deadline };
        let mut runs = Runs { shared, threads: &responder.threads, spawn: None };
        let opened = responder.open_stream(state, (&caller, None), (rx, tx), &request, &mut runs);
        rx.release_current();
        match opened {
            Deferring::Begun(stream) => streams.add(&frame, cell, deadline, Box::new(stream), rx),
            Deferring::Answered(outcome) => self.report(outcome)?,
            Deferring::Declined => {}
        }
        Ok(())
    }

    /// Takes one step of one stream; false when no stream has a step to take.
    fn step(&mut self, streams: &mut Streams, rx: &mut Rx, tx: &mut Tx) -> Result<bool, Halt> {
        if tx.has_deferred() {
            flush(tx)?;
        }
        match streams.step(rx, tx)? {
            Stepped::Nothing => return Ok(false),
            Stepped::Sent => {}
            Stepped::Left(stream, StreamEnd::Done) => {
                let (responder, _) = self.exclusive();
                let outcome = responder.end_stream(None, tx, *stream.body);
                self.report(outcome)?;
            }
            Stepped::Left(stream, StreamEnd::DeadlinePassed) => {
                refuse(&stream, tx, ErrorKind::DeadlinePassed)?;
                self.leave(&stream, Outcome::Failed(ErrorKind::DeadlinePassed));
            }
        }
        Ok(true)
    }

    /// Drops the handler of a stream.
    fn leave(&mut self, stream: &OpenStream<Box<ServedStream>>, outcome: Outcome) {
        let deferred = stream.body.deferred();
        deferred.cancel();
        let (responder, _) = self.exclusive();
        responder.record_deferred(None, deferred, outcome);
    }

    fn report(&mut self, outcome: Result<(), Box<ServeError>>) -> Result<(), Halt> {
        let (responder, _) = self.exclusive();
        match responder.report(outcome) {
            // The caller is gone. The next look at the ring finds its end, after its last requests.
            Err(Halt::Closed | Halt::PeerDead) => Ok(()),
            reported => reported,
        }
    }
}

/// Tells the caller that a stream ended.
fn refuse(stream: &OpenStream<Box<ServedStream>>, tx: &mut Tx, kind: ErrorKind) -> Result<(), Halt> {
    match send_error(tx, stream.call, stream.msg_type, kind, ErrorBody::default()) {
        Err(Unsent::Halted(halt @ (Halt::FatalError(_) | Halt::Forked))) => Err(halt),
        _ => Ok(()),
    }
}

fn flush(tx: &mut Tx) -> Result<(), Halt> {
    match tx.flush() {
        Err(Unsent::Halted(halt)) => Err(halt),
        Ok(_) | Err(Unsent::TooLarge { .. }) => Ok(()),
    }
}

/// Waits for a message, for credit, for room, or for a handler that runs elsewhere.
fn wait_beside(streams: &mut Streams, rx: &mut Rx, tx: &mut Tx) -> Result<(), Halt> {
    if let Some(wake) = rx.connection.peer.wake() {
        wake.arm();
    }
    let deadline = streams.deadline();
    let Rx { connection, index, consumer, waiter, .. } = rx;
    let (forward, reverse) = (connection.ring(*index), connection.ring(tx.index));
    let words = [&forward.header().consumer_parked.0, &reverse.header().producer_parked.0];
    let needs_room = usize::from(streams.is_blocked() || tx.has_deferred());
    let awaited = connection.awaited(&words[..=needs_room], deadline);
    let waited = waiter.wait(&awaited, || {
        let (deferred, full) = (tx.has_deferred(), tx.is_overfull());
        if deferred {
            flush(tx)?;
        }
        // While too many replies are deferred, no request is taken.
        let may_take = !tx.is_overfull() && (full || consumer.is_ready());
        let due = may_take || !forward.is_open() || deferred != tx.has_deferred() || streams.is_due(tx);
        Ok(due.then_some(()))
    });
    if let Some(wake) = connection.peer.wake() {
        wake.disarm();
    }
    match waited.map_err(|stop| connection.wait_failed(stop)) {
        // The next step ends the stream whose deadline has passed.
        Ok(()) | Err(Halt::TimedOut) => Ok(()),
        Err(halt) => Err(halt),
    }
}
