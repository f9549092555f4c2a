//! The one task per connection that takes replies off the ring, hears of room, and notices the callee's end.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::io;
use std::sync::Arc;

use super::ending::Ending;
use super::session::{AT_ONCE, Session};
use super::watched::{Part, Watched};
use crate::error::Halt;

pub(super) struct Driver {
    session: Arc<Session>,
    data: Watched,
    room: Watched,
    /// The socket and, where there is one, the process.
    life: Vec<Watched>,
}

impl Driver {
    /// # Errors
    /// The runtime's refusal to watch the connection.
    pub(super) fn new(session: &Arc<Session>) -> io::Result<Self> {
        let connection = &session.connection;
        let data = Watched::new(connection, Part::Data)?.ok_or(io::ErrorKind::NotFound)?;
        let room = Watched::new(connection, Part::Room)?.ok_or(io::ErrorKind::NotFound)?;
        let mut life = Vec::with_capacity(2);
        for part in [Part::Socket, Part::Process] {
            life.extend(Watched::new(connection, part)?);
        }
        Ok(Self { session: Arc::clone(session), data, room, life })
    }

    /// Drives the connection to its end.
    pub(super) async fn run(self) {
        let ending = self.drive().await;
        self.session.end(ending);
    }

    async fn drive(&self) -> Ending {
        let slots = self.session.connection.channel(1).memory.geometry().slots();
        // More than a ringful cannot have been sent before an end; a hostile callee could feign one and go on sending.
        let mut rounds_after_end = slots / AT_ONCE + 2;
        let mut gone = false;
        loop {
            match self.session.settle() {
                Err(halt) => return halt.into(),
                Ok(true) if gone => return Halt::PeerDead.into(),
                Ok(false) if gone && rounds_after_end == 0 => return Halt::PeerDead.into(),
                Ok(false) => {
                    rounds_after_end -= usize::from(gone);
                    tokio::task::yield_now().await;
                }
                // Asked before the next look: what the callee sent before an end seen here cannot escape that look.
                Ok(true) => match self.woken().await {
                    Ok(end) => gone = end,
                    Err(source) => return source.into(),
                },
            }
        }
    }

    /// Sleeps until the callee rings, a task of this process asks for a look, or the callee's life ends; true in the
    /// last case.
    async fn woken(&self) -> io::Result<bool> {
        let mut asked = pin!(self.session.look.notified());
        let outcome = poll_fn(|context| {
            let (mut woken, mut gone) = (asked.as_mut().poll(context).is_ready(), false);
            for watched in self.life.iter().chain([&self.data, &self.room]) {
                if let Poll::Ready(end) = watched.poll_happened(context) {
                    gone |= end?;
                    woken = true;
                }
            }
            if woken { Poll::Ready(Ok(gone)) } else { Poll::Pending }
        })
        .await;
        // Whatever it was: a sender that waits for room does not harm by looking, and there is one at most.
        self.session.room.notify_one();
        if matches!(outcome, Ok(true)) {
            self.session.connection.peer.mark_gone();
        }
        outcome
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Reached without an ending only when the runtime drops the task: then nobody takes replies any more.
        self.session.end(Ending::undriven());
    }
}
