//! The driver task of a connection: takes replies from the ring, wakes the tasks that wait for room or for a stream,
//! and notices the end of the callee.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::descriptors::{Source, WatchedDescriptor};
use super::session::{MAX_BATCH, RoundResult, Session, undriven};
use crate::connection::End;
use crate::wait::{Deadline, SECOND_LOOK};

pub(super) struct Driver {
    session: Arc<Session>,
    socket: WatchedDescriptor,
    process: Option<WatchedDescriptor>,
    /// For the second look, 10 ms after the last arming, and for the deadlines of streams.
    alarm: Pin<Box<Sleep>>,
}

/// The event that ended a sleep.
enum Woken {
    /// The callee rang.
    Rung,
    /// A task of this process requests a look, or the deadline of a stream has passed.
    Requested,
    /// The second look is due.
    Due,
    /// The callee's process or socket ended.
    Gone,
}

impl Driver {
    /// # Errors
    /// The runtime cannot watch the connection.
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub(super) fn new(session: &Arc<Session>) -> io::Result<Self> {
        let connection = &session.connection;
        let socket = WatchedDescriptor::new(connection, Source::Socket)?.ok_or(io::ErrorKind::NotFound)?;
        let process = WatchedDescriptor::new(connection, Source::Process)?;
        let alarm = Box::pin(sleep(Duration::ZERO));
        Ok(Self { session: Arc::clone(session), socket, process, alarm })
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        let end = self.drive().await;
        self.session.end(end);
    }

    async fn drive(&mut self) -> End {
        let slots = self.session.connection.ring(1).geometry().slots();
        // A callee cannot have sent more than a ring full before its end. A hostile callee may pretend an end and go
        // on.
        let mut rounds_after_end = slots / MAX_BATCH + 2;
        let mut armed = false;
        loop {
            // Read before the look: the look finds all that the callee sent before an end seen here.
            let gone = self.session.connection.peer.was_gone();
            let (pass, deadline) = match self.session.round(armed) {
                Ok(pass) => pass,
                Err(halt) => return halt.into(),
            };
            let due = match pass {
                RoundResult::More if gone && rounds_after_end == 0 => return End::PeerDead,
                RoundResult::More => {
                    rounds_after_end -= usize::from(gone);
                    armed = false;
                    tokio::task::yield_now().await;
                    continue;
                }
                _ if gone => return End::PeerDead,
                RoundResult::Armed => Some(Duration::from_nanos(SECOND_LOOK)),
                RoundResult::StillArmed => None,
            };
            match self.sleep(due, deadline).await {
                Ok(woken) => armed = matches!(woken, Woken::Due),
                Err(end) => return end,
            }
        }
    }

    /// Sleeps until an event, at most until the second look is due, and until the deadline of a stream.
    async fn sleep(&mut self, due: Option<Duration>, deadline: Deadline) -> Result<Woken, End> {
        let left = deadline.remaining();
        let is_second_look = due.is_some_and(|due| left.is_none_or(|left| due <= left));
        let limit = if is_second_look { due } else { left };
        if let Some(limit) = limit {
            self.alarm.as_mut().reset(Instant::now() + limit);
        }
        let mut requested = pin!(self.session.look.notified());
        let Self { socket, process, alarm, .. } = self;
        let outcome = poll_fn(|context| {
            let mut woken = requested.as_mut().poll(context).is_ready().then_some(Woken::Requested);
            // A task that requests a look may have armed anew just now: that second look is due later.
            if limit.is_some() && alarm.as_mut().poll(context).is_ready() && woken.is_none() {
                woken = Some(if is_second_look { Woken::Due } else { Woken::Requested });
            }
            for descriptor in core::iter::once(&*socket).chain(process.as_ref()) {
                if let Poll::Ready(end) = descriptor.poll_event(context) {
                    let gone = end?;
                    if gone || !matches!(woken, Some(Woken::Gone)) {
                        woken = Some(if gone { Woken::Gone } else { Woken::Rung });
                    }
                }
            }
            woken.map_or(Poll::Pending, |woken| Poll::Ready(Ok(woken)))
        })
        .await;
        if matches!(outcome, Ok(Woken::Gone)) {
            self.session.connection.peer.mark_gone();
        }
        outcome
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Ends the session if the runtime drops the task: from then on no task takes replies.
        self.session.end(undriven());
    }
}
