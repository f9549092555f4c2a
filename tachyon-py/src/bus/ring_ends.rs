//! The two ends of a ring as Python holds them: with at most one guard each, and nothing borrowed.

use core::time::Duration;
use std::time::Instant;

use pyo3::prelude::*;
use tachyon::__binding::{Receiving, Room, Sending, Taking};
use tachyon::{PollingMode, ServeError};

use crate::errors::{BusyError, Raise, ViewError};
use crate::memory::payload::Payload;
use crate::runtime::interrupt::detached;

/// Looks for a message before letting go of the interpreter, which costs about as much as this many.
pub(crate) const LOOKS: u32 = 64;

/// What occupies a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUse {
    No,
    /// A guard is open.
    ByGuard,
    /// A guard has ended, but views into its slot are left.
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

/// A direction that another thread is using.
#[cold]
pub(crate) fn busy() -> PyErr {
    BusyError::new_err(
        "another thread is using this direction, or an operation on it is under way in this one; \
         each direction of a bus belongs to one thread at a time",
    )
}

/// The receiving end of a ring.
pub(crate) struct RxEnd {
    pub(crate) ring: Receiving,
    /// What is lent; a batch by its last message.
    taken: Option<(Taking, bool)>,
    pub(crate) in_use: InUse,
}

impl RxEnd {
    pub(crate) fn new(ring: Receiving) -> Self {
        Self { ring, taken: None, in_use: InUse::No }
    }

    /// Waits for a message; its slot is the caller's to lend or release.
    #[inline]
    pub(crate) fn take(
        &mut self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<Taking> {
        self.in_use.check()?;
        match self.ring.look(LOOKS).map_err(Raise::raise)? {
            Some(taking) => Ok(taking),
            None => self.wait(py, spins, |ring| ring.take(timeout)),
        }
    }

    /// Waits for messages and lends them.
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

    /// Marks a taken message as lent to a guard.
    #[inline]
    pub(crate) fn mark_in_use(&mut self, taking: Taking) {
        self.taken = Some((taking, false));
        self.in_use = InUse::ByGuard;
    }

    /// Gives back what is lent.
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
    /// What is lent.
    room: Option<Room>,
    pub(crate) in_use: InUse,
}

impl TxEnd {
    pub(crate) fn new(ring: Sending) -> Self {
        Self { ring, room: None, in_use: InUse::No }
    }

    /// Sends a copy of `payload`, which is read while attached only.
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

    /// Takes room for `size` bytes and lends it.
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

    /// Publishes what was written into the lent room.
    pub(crate) fn publish(&mut self, size: usize, type_id: u32, correlation_id: u64) -> PyResult<()> {
        self.in_use = InUse::No;
        match self.room.take() {
            Some(room) => self.ring.publish(room, size, type_id, correlation_id).map_err(Raise::raise),
            None => Ok(()),
        }
    }

    /// Takes the lent room back unused.
    pub(crate) fn roll_back(&mut self) {
        self.room = None;
        self.in_use = InUse::No;
    }
}

/// What is left of a timeout when requests that do not count have come first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemainingTimeout {
    timeout: Option<Duration>,
    began: Option<Instant>,
}

impl RemainingTimeout {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, began: timeout.map(|_| Instant::now()) }
    }

    /// What is left after one more of them. Signals are looked for: who always finds something never waits for them.
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
