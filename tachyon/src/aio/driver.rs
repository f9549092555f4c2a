//! The one task per connection that takes replies off the ring, hears of room, and notices the callee's end.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::ending::Ending;
use super::session::{AT_ONCE, Session, Taken};
use super::watched::{Part, Watched};
use crate::error::Halt;
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
        let ending = self.drive().await;
        self.session.end(ending);
    }

    async fn drive(&mut self) -> Ending {
        let slots = self.session.connection.ring(1).geometry().slots();
        // More than a ringful cannot have been sent before an end; a hostile callee could feign one and go on sending.
        let mut rounds_after_end = slots / AT_ONCE + 2;
        let (mut gone, mut armed) = (false, false);
        loop {
            let due = match self.session.take_replies(armed) {
                Err(halt) => return halt.into(),
                Ok(Taken::More) if gone && rounds_after_end == 0 => return Halt::PeerDead.into(),
                Ok(Taken::More) => {
                    rounds_after_end -= usize::from(gone);
                    armed = false;
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(_) if gone => return Halt::PeerDead.into(),
                Ok(Taken::Armed) => Some(Duration::from_nanos(SECOND_LOOK)),
                Ok(Taken::StillArmed) => None,
            };
            // Asked before the next look: nothing the callee sent before an end seen here can escape that look.
            match self.woken(due).await {
                Ok(woken) => {
                    gone = matches!(woken, Woken::Gone);
                    armed = matches!(woken, Woken::Due);
                }
                Err(ending) => return ending,
            }
        }
    }

    /// Sleeps, for no longer than until the second look is due.
    async fn woken(&mut self, due: Option<Duration>) -> Result<Woken, Ending> {
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
        // A sender that waits for room has looked itself before it asked.
        if !matches!(outcome, Ok(Woken::Asked)) {
            self.session.room.notify_one();
        }
        if matches!(outcome, Ok(Woken::Gone)) {
            self.session.connection.peer.mark_gone();
        }
        outcome
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Reached without an ending only when the runtime drops the task: then no task takes replies any more.
        self.session.end(Ending::undriven());
    }
}
