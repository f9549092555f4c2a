//! The two directions of an RPC bus, as the holder of their lock sees them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tachyon::__binding::{CallerSteps, rpc_caller};
use tachyon::PollingMode;

use crate::bus::lifetime::{SharedCloser, closed};
use crate::bus::ring_ends::{InUse, RxEnd, TxEnd};
use crate::bus::try_lock::{DelayedRelease, Release};
use crate::errors::{BusyError, InvalidArgumentError, Raise, WrongDirectionError};
use crate::rpc::caller_end::CallerEnd;

/// The role of this side, with its end of the forward ring.
#[allow(clippy::large_enum_variant, reason = "there is one of them per bus, on the heap with it")]
pub(crate) enum ForwardRole {
    Unassigned(tachyon::RpcBus),
    /// A caller owns both directions: while it waits for room it takes replies.
    Calling(CallerEnd),
    /// A callee receives requests here.
    Serving(RxEnd),
    Closed,
}

/// The users of a side that a call on the fast path must not meet, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Special(u8);

impl Special {
    /// An event loop owns this side, and all other users are refused.
    pub(crate) const LOOP: Self = Self(1);
    /// Layers see each call.
    pub(crate) const LAYERS: Self = Self(2);

    pub(crate) fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    pub(crate) fn set(&mut self, one: Self, on: bool) {
        self.0 = if on { self.0 | one.0 } else { self.0 & !one.0 };
    }
}

/// This side of the forward ring.
pub(crate) struct ForwardDirection {
    pub(crate) role: ForwardRole,
    pub(crate) polling: PollingMode,
    /// The polling mode that the bus was made with.
    pub(crate) first_polling: PollingMode,
    pub(crate) closing: bool,
    /// The reasons for the slow path.
    pub(crate) special: Special,
    pub(crate) closer: SharedCloser,
    pub(crate) abandoned: AbandonedStreams,
}

/// Streams that were given up while another thread may have used the direction, by correlation id.
#[derive(Clone, Default)]
pub(crate) struct AbandonedStreams(Arc<Mutex<Vec<u64>>>);

impl AbandonedStreams {
    fn list(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, id: u64) {
        self.list().push(id);
    }

    fn take(&self) -> Vec<u64> {
        core::mem::take(&mut *self.list())
    }
}

impl ForwardDirection {
    pub(crate) fn check_open(&self) -> PyResult<()> {
        if self.closing { Err(closed()) } else { Ok(()) }
    }

    /// Fails unless this side is open and no event loop owns it.
    pub(crate) fn check_free(&self) -> PyResult<()> {
        if self.owned_by_loop() { Err(owned_by_loop()) } else { self.check_open() }
    }

    pub(crate) fn owned_by_loop(&self) -> bool {
        self.special.has(Special::LOOP)
    }

    /// Whether layers see the calls of this side.
    pub(crate) fn is_layered(&self) -> bool {
        self.special.has(Special::LAYERS)
    }

    /// The calling end for a request that no layer has seen; a bus without a role takes this role.
    ///
    /// # Errors
    /// Also if this side [has layers](Self::is_layered).
    #[inline]
    pub(crate) fn calling(&mut self) -> PyResult<&mut CallerEnd> {
        if self.special != Special::default() {
            return Err(self.refuse());
        }
        self.as_calling()
    }

    /// The calling end for all else; a bus without a role takes this role.
    pub(crate) fn calling_beside_layers(&mut self) -> PyResult<&mut CallerEnd> {
        self.check_free()?;
        self.as_calling()
    }

    #[cold]
    fn refuse(&self) -> PyErr {
        if self.owned_by_loop() {
            return owned_by_loop();
        }
        InvalidArgumentError::new_err(
            "a request that is written in place passes no layer, and this bus has some; send it with `start`",
        )
    }

    /// The calling end, for the event loop that owns it.
    #[inline]
    pub(crate) fn loop_calling(&mut self) -> PyResult<&mut CallerEnd> {
        if !self.owned_by_loop() {
            return Err(closed());
        }
        self.as_calling()
    }

    /// The calling end, also while an event loop owns it; a bus without a role takes this role.
    pub(crate) fn as_calling(&mut self) -> PyResult<&mut CallerEnd> {
        self.check_open()?;
        if let ForwardRole::Unassigned(bus) = &self.role {
            let mut calling = CallerEnd::new(rpc_caller(bus).map_err(Raise::raise)?, self.closer.clone());
            calling.set_polling_mode(self.polling);
            self.role = ForwardRole::Calling(calling);
        }
        match &mut self.role {
            ForwardRole::Calling(calling) => Ok(calling),
            ForwardRole::Serving(_) => {
                Err(WrongDirectionError::new_err("this side serves, so it cannot call; open a second bus for that"))
            }
            ForwardRole::Unassigned(_) | ForwardRole::Closed => Err(closed()),
        }
    }

    /// The receiving end of requests, on a side that serves already.
    #[inline]
    pub(crate) fn serving(&mut self) -> PyResult<&mut RxEnd> {
        self.check_free()?;
        match &mut self.role {
            ForwardRole::Serving(rx_end) => Ok(rx_end),
            ForwardRole::Calling(_) => {
                Err(WrongDirectionError::new_err("this side calls, so it cannot serve; open a second bus for that"))
            }
            ForwardRole::Unassigned(_) | ForwardRole::Closed => Err(closed()),
        }
    }

    /// Makes an event loop the owner of this side; an earlier loop loses it.
    pub(crate) fn take_for_loop(&mut self) -> PyResult<&mut CallerEnd> {
        let had = self.owned_by_loop();
        let calling = self.as_calling()?;
        calling.replies.check()?;
        calling.requests.check()?;
        if had {
            calling.caller.recycle();
        } else if calling.caller.outstanding() > 0 {
            return Err(BusyError::new_err("calls of this bus are in flight; `finish` them or `forget` them first"));
        }
        self.special.set(Special::LOOP, true);
        self.as_calling()
    }

    /// Ends the ownership of the event loop.
    pub(crate) fn release_from_loop(&mut self) {
        self.special.set(Special::LOOP, false);
        if let ForwardRole::Calling(calling) = &mut self.role {
            calling.caller.disarm();
            calling.caller.recycle();
        }
        self.close_if_free();
    }

    fn close_if_free(&mut self) {
        if self.owned_by_loop() {
            return;
        }
        let idle = match &self.role {
            ForwardRole::Calling(calling) => calling.is_idle(),
            ForwardRole::Serving(rx_end) => rx_end.in_use == InUse::No,
            ForwardRole::Unassigned(_) | ForwardRole::Closed => true,
        };
        if self.closing && idle {
            self.role = ForwardRole::Closed;
        }
    }
}

/// The error for a side that an event loop owns.
#[cold]
fn owned_by_loop() -> PyErr {
    BusyError::new_err(
        "this bus belongs to an event loop since `acall` or `aserve` used it; await those, or open another bus",
    )
}

impl Release for ForwardDirection {
    fn apply(&mut self, release: DelayedRelease) {
        match (release, &mut self.role) {
            (DelayedRelease::Message, ForwardRole::Calling(calling)) => calling.give_back(),
            (DelayedRelease::Message, ForwardRole::Serving(rx_end)) => rx_end.give_back(),
            (DelayedRelease::Reservation, ForwardRole::Calling(calling)) => calling.roll_back(),
            (DelayedRelease::Streams, ForwardRole::Calling(calling)) => {
                for id in self.abandoned.take() {
                    calling.caller.give_up(id, true);
                }
            }
            (DelayedRelease::Streams, _) => drop(self.abandoned.take()),
            (DelayedRelease::Connection, _) => self.closing = true,
            _ => {}
        }
        self.close_if_free();
    }
}

/// This side of the reverse ring, where a callee replies. A caller, and a bus without a role, have no end here.
pub(crate) struct ReverseDirection {
    pub(crate) tx_end: Option<TxEnd>,
    pub(crate) closing: bool,
}

impl ReverseDirection {
    #[inline]
    pub(crate) fn replying(&mut self) -> PyResult<&mut TxEnd> {
        if self.closing {
            return Err(closed());
        }
        self.tx_end
            .as_mut()
            .ok_or_else(|| WrongDirectionError::new_err("this side serves nothing, so it cannot reply; `serve` first"))
    }

    /// As `replying`, for the request with this correlation id.
    pub(crate) fn replying_to(&mut self, correlation_id: u64) -> PyResult<&mut TxEnd> {
        let tx_end = self.replying()?;
        tx_end.ring.check_correlation(correlation_id).map_err(Raise::raise)?;
        Ok(tx_end)
    }
}

impl Release for ReverseDirection {
    fn apply(&mut self, release: DelayedRelease) {
        match (release, &mut self.tx_end) {
            (DelayedRelease::Reservation, Some(tx_end)) => tx_end.roll_back(),
            (DelayedRelease::Connection, _) => self.closing = true,
            _ => {}
        }
        if self.closing && self.tx_end.as_ref().is_some_and(|tx_end| tx_end.in_use == InUse::No) {
            self.tx_end = None;
        }
    }
}
