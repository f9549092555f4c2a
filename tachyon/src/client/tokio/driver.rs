//! The one task per connection that takes replies off the ring, hears of room, and notices the callee's end.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::session::{AT_ONCE, Pass, Session, undriven};
use super::watched::{Part, Watched};
use crate::connection::End;
use crate::wait::SECOND_LOOK;

pub(super) struct Driver {
    session: Arc<Session>,
    socket: Watched,
    process: Option<Watched>,
    /// When the callee was last asked to ring, the second look is due 10 ms later.
    second_look: Pin<Box<Sleep>>,
}

/// What ended a sleep.
enum Woken {
    /// The callee rang.
    Rung,
    /// A task of this process asks for a look.
    Asked,
    /// It is time for the second look.
    Due,
    /// The callee's life ended.
    Gone,
}

impl Driver {
    /// # Errors
    /// The runtime's refusal to watch the connection.
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub(super) fn new(session: &Arc<Session>) -> io::Result<Self> {
        let connection = &session.connection;
        let socket = Watched::new(connection, Part::Socket)?.ok_or(io::ErrorKind::NotFound)?;
        let process = Watched::new(connection, Part::Process)?;
        let second_look = Box::pin(sleep(Duration::ZERO));
        Ok(Self { session: Arc::clone(session), socket, process, second_look })
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        let end = self.drive().await;
        self.session.end(end);
    }

    async fn drive(&mut self) -> End {
        let slots = self.session.connection.ring(1).geometry().slots();
        // More than a ringful cannot have been sent before an end; a hostile callee could feign one and go on sending.
        let mut rounds_after_end = slots / AT_ONCE + 2;
        let mut armed = false;
        loop {
            // Asked before the look: nothing the callee sent before an end seen here can escape that look.
            let gone = self.session.connection.peer.was_gone();
            let due = match self.session.pass(armed) {
                Err(halt) => return halt.into(),
                Ok(Pass::More) if gone && rounds_after_end == 0 => return End::PeerDead,
                Ok(Pass::More) => {
                    rounds_after_end -= usize::from(gone);
                    armed = false;
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(_) if gone => return End::PeerDead,
                Ok(Pass::Armed) => Some(Duration::from_nanos(SECOND_LOOK)),
                Ok(Pass::StillArmed) => None,
            };
            match self.woken(due).await {
                Ok(woken) => armed = matches!(woken, Woken::Due),
                Err(end) => return end,
            }
        }
    }

    /// Sleeps, for no longer than until the second look is due.
    async fn woken(&mut self, due: Option<Duration>) -> Result<Woken, End> {
        if let Some(due) = due {
            self.second_look.as_mut().reset(Instant::now() + due);
        }
        let mut asked = pin!(self.session.look.notified());
        let Self { socket, process, second_look, .. } = self;
        let outcome = poll_fn(|context| {
            let mut woken = asked.as_mut().poll(context).is_ready().then_some(Woken::Asked);
            // A task that asks may have armed anew just now, whose second look is due later.
            if due.is_some() && second_look.as_mut().poll(context).is_ready() && woken.is_none() {
                woken = Some(Woken::Due);
            }
            for watched in core::iter::once(&*socket).chain(process.as_ref()) {
                if let Poll::Ready(end) = watched.poll_happened(context) {
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
        // Reached without an ending only when the runtime drops the task: then no task takes replies any more.
        self.session.end(undriven());
    }
}
