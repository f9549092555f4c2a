//! The two ends of a ring as Python objects hold them: with at most one guard each, and without borrows.

use core::time::Duration;
use std::time::Instant;

use pyo3::prelude::*;
use tachyon::__binding::{Receiving, Room, Sending, Taking};
use tachyon::{PollingMode, ServeError};

use crate::errors::{BusyError, Raise, ViewError};
use crate::memory::payload::Payload;
use crate::runtime::interrupt::detached;

/// Polls before a wait releases the GIL. Releasing the GIL costs about as much as this many polls.
pub(crate) const POLLS: u32 = 64;

/// Whether a guard or its views use the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUse {
    No,
    /// A guard is open.
    ByGuard,
    /// A guard has ended, and views into its slot are left.
    ByViews,
}

impl InUse {
    /// Fails unless the direction is free.
    #[inline]
    pub(crate) fn check(self) -> PyResult<()> {
        match self {
            Self::No => Ok(()),
            in_use => Err(in_use.refuse()),
        }
    }

    #[cold]
    fn refuse(self) -> PyErr {
        if self == Self::ByGuard {
            return BusyError::new_err("a guard is still open on this direction; leave its `with` block first");
        }
        ViewError::new_err(
            "a memoryview or array still looks into a slot whose guard has ended; release or delete it first",
        )
    }
}

/// The error for a direction that another thread is using.
#[cold]
pub(crate) fn busy() -> PyErr {
    BusyError::new_err(
        "another thread is using this direction, or an operation of this thread is using it; \
         each direction of a bus belongs to one thread at a time",
    )
}

/// The receiving end of a ring.
pub(crate) struct RxEnd {
    pub(crate) ring: Receiving,
    /// The message of the open guard, and whether it is the last one of a batch.
    taken: Option<(Taking, bool)>,
    pub(crate) in_use: InUse,
}

impl RxEnd {
    pub(crate) fn new(ring: Receiving) -> Self {
        Self { ring, taken: None, in_use: InUse::No }
    }

    /// Waits for a message. The calling function puts it in use or releases it.
    #[inline]
    pub(crate) fn take(
        &mut self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<Taking> {
        self.in_use.check()?;
        match self.ring.look(POLLS).map_err(Raise::raise)? {
            Some(taking) => Ok(taking),
            None => self.wait(py, spins, |ring| ring.take(timeout)),
        }
    }

    /// Waits for messages, and marks the direction as in use by a guard.
    pub(crate) fn take_batch(
        &mut self,
        py: Python<'_>,
        max: usize,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<Vec<Taking>> {
        self.in_use.check()?;
        let batch = self.wait(py, spins, |ring| ring.take_batch(max, timeout))?;
        self.taken = batch.last().map(|last| (*last, true));
        self.in_use = InUse::ByGuard;
        Ok(batch)
    }

    #[cold]
    fn wait<T: Send>(
        &mut self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        operation: impl FnOnce(&mut Receiving) -> Result<T, tachyon::RecvError> + Send,
    ) -> PyResult<T> {
        let before = spins.map(|spins| self.ring.swap_polling_mode(spins));
        let outcome = detached(py, || operation(&mut self.ring));
        if let Some(before) = before {
            self.ring.swap_polling_mode(before);
        }
        outcome
    }

    /// Marks a taken message as in use by a guard.
    #[inline]
    pub(crate) fn mark_in_use(&mut self, taking: Taking) {
        self.taken = Some((taking, false));
        self.in_use = InUse::ByGuard;
    }

    /// Gives the guard's messages back.
    pub(crate) fn give_back(&mut self) {
        self.in_use = InUse::No;
        match self.taken.take() {
            Some((last, true)) => self.ring.release_batch(last),
            Some((only, false)) => self.ring.release(only.position()),
            None => {}
        }
    }
}

/// The sending end of a ring.
pub(crate) struct TxEnd {
    pub(crate) ring: Sending,
    /// The reservation of the open guard.
    room: Option<Room>,
    pub(crate) in_use: InUse,
}

impl TxEnd {
    pub(crate) fn new(ring: Sending) -> Self {
        Self { ring, room: None, in_use: InUse::No }
    }

    /// Sends a copy of `payload`. The bytes are read only while the thread is attached.
    #[inline]
    pub(crate) fn send(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        type_id: u32,
        correlation_id: u64,
        timeout: Option<Duration>,
    ) -> PyResult<()> {
        self.in_use.check()?;
        let data = payload.as_slice();
        if self.ring.try_send(data, type_id, correlation_id).map_err(Raise::raise)? {
            return Ok(());
        }
        let size = data.len();
        let room = detached(py, || self.ring.reserve(size, timeout))?;
        self.ring.fill(room, payload.as_slice());
        self.ring.publish(room, size, type_id, correlation_id).map_err(Raise::raise)
    }

    /// Reserves `size` bytes for a guard.
    pub(crate) fn reserve(&mut self, py: Python<'_>, size: usize, timeout: Option<Duration>) -> PyResult<Room> {
        self.in_use.check()?;
        let room = match self.ring.try_reserve(size).map_err(Raise::raise)? {
            Some(room) => room,
            None => detached(py, || self.ring.reserve(size, timeout))?,
        };
        self.room = Some(room);
        self.in_use = InUse::ByGuard;
        Ok(room)
    }

    /// Publishes the first `size` bytes of the reservation.
    pub(crate) fn publish(&mut self, size: usize, type_id: u32, correlation_id: u64) -> PyResult<()> {
        self.in_use = InUse::No;
        match self.room.take() {
            Some(room) => self.ring.publish(room, size, type_id, correlation_id).map_err(Raise::raise),
            None => Ok(()),
        }
    }

    /// Gives the reservation back unused.
    pub(crate) fn roll_back(&mut self) {
        self.room = None;
        self.in_use = InUse::No;
    }
}

/// The time that is left of a timeout after control requests, which the operation skips.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemainingTimeout {
    timeout: Option<Duration>,
    began: Option<Instant>,
}

impl RemainingTimeout {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, began: timeout.map(|_| Instant::now()) }
    }

    /// The time left after one more control request. Signals are checked here: an operation that always finds a request
    /// never waits, and would never check them.
    #[cold]
    pub(crate) fn left(self, py: Python<'_>) -> PyResult<Option<Duration>> {
        py.check_signals()?;
        let Some((timeout, began)) = self.timeout.zip(self.began) else { return Ok(None) };
        match timeout.checked_sub(began.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(ServeError::TimedOut.raise()),
        }
    }
}
