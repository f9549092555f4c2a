//! The two rings of an RPC bus as whoever has their turn sees them.

use pyo3::prelude::*;
use tachyon::__binding::{CallerSteps, rpc_caller};
use tachyon::PollingMode;

use crate::bus::lifetime::{Ending, closed};
use crate::bus::ring_ends::{Inlet, Occupied, Outlet};
use crate::bus::try_lock::{Debt, Settle};
use crate::errors::{BusyError, Raise, WrongDirectionError};
use crate::rpc::caller_end::Calling;

/// What this side is, and what it does with the forward ring.
#[allow(clippy::large_enum_variant, reason = "there is one of them per bus, on the heap with it")]
pub(crate) enum Forward {
    Undecided(tachyon::RpcBus),
    /// A caller owns both directions: while it waits for room it takes replies.
    Calling(Calling),
    /// A callee receives here.
    Serving(Inlet),
    Closed,
}

/// This side of the forward ring, as whoever has the turn sees it.
pub(crate) struct ForwardLine {
    pub(crate) end: Forward,
    pub(crate) polling: PollingMode,
    pub(crate) closing: bool,
    /// Whether an event loop has this side, and everybody else is refused.
    pub(crate) attended: bool,
    pub(crate) ending: Ending,
}

impl ForwardLine {
    pub(crate) fn check_open(&self) -> PyResult<()> {
        if self.closing { Err(closed()) } else { Ok(()) }
    }

    /// Fails unless this side is open, and no event loop has it.
    pub(crate) fn check_free(&self) -> PyResult<()> {
        if self.attended { Err(attended()) } else { self.check_open() }
    }

    /// The calling end; an undecided bus becomes it.
    #[inline]
    pub(crate) fn calling(&mut self) -> PyResult<&mut Calling> {
        self.check_free()?;
        self.as_calling()
    }

    /// The calling end for the event loop that attends to it.
    #[inline]
    pub(crate) fn attended_calling(&mut self) -> PyResult<&mut Calling> {
        if !self.attended {
            return Err(closed());
        }
        self.as_calling()
    }

    fn as_calling(&mut self) -> PyResult<&mut Calling> {
        self.check_open()?;
        if let Forward::Undecided(bus) = &self.end {
            let mut calling = Calling::new(rpc_caller(bus).map_err(Raise::raise)?, self.ending.clone());
            calling.set_polling_mode(self.polling);
            self.end = Forward::Calling(calling);
        }
        match &mut self.end {
            Forward::Calling(calling) => Ok(calling),
            Forward::Serving(_) => {
                Err(WrongDirectionError::new_err("this side serves, so it cannot call; open a second bus for that"))
            }
            Forward::Undecided(_) | Forward::Closed => Err(closed()),
        }
    }

    /// Where requests arrive, on a side that serves already.
    #[inline]
    pub(crate) fn serving(&mut self) -> PyResult<&mut Inlet> {
        self.check_free()?;
        match &mut self.end {
            Forward::Serving(inlet) => Ok(inlet),
            Forward::Calling(_) => {
                Err(WrongDirectionError::new_err("this side calls, so it cannot serve; open a second bus for that"))
            }
            Forward::Undecided(_) | Forward::Closed => Err(closed()),
        }
    }

    /// Takes this side for an event loop; a loop that had it before has it no more.
    pub(crate) fn attend(&mut self) -> PyResult<&mut Calling> {
        let had = self.attended;
        let calling = self.as_calling()?;
        calling.replies.check()?;
        calling.requests.check()?;
        if had {
            calling.caller.recycle();
        } else if calling.caller.outstanding() > 0 {
            return Err(BusyError::new_err(
                "calls of this bus are still waited for; `wait` for them or `forget` them first",
            ));
        }
        self.attended = true;
        self.as_calling()
    }

    /// Gives this side back.
    pub(crate) fn unattend(&mut self) {
        self.attended = false;
        if let Forward::Calling(calling) = &mut self.end {
            calling.caller.disarm();
            calling.caller.recycle();
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.attended {
            return;
        }
        let idle = match &self.end {
            Forward::Calling(calling) => calling.is_idle(),
            Forward::Serving(inlet) => inlet.occupied == Occupied::No,
            Forward::Undecided(_) | Forward::Closed => true,
        };
        if self.closing && idle {
            self.end = Forward::Closed;
        }
    }
}

/// A side that an event loop has.
#[cold]
fn attended() -> PyErr {
    BusyError::new_err(
        "this bus belongs to an event loop since `acall` or `serve_async` used it; await those, or open another bus",
    )
}

impl Settle for ForwardLine {
    fn settle(&mut self, debt: Debt) {
        match (debt, &mut self.end) {
            (Debt::Release, Forward::Calling(calling)) => calling.give_back(),
            (Debt::Release, Forward::Serving(inlet)) => inlet.give_back(),
            (Debt::RollBack, Forward::Calling(calling)) => calling.roll_back(),
            (Debt::Close, _) => self.closing = true,
            _ => {}
        }
        self.let_go();
    }
}

/// This side of the reverse ring, where a callee replies; empty before that is decided, and for a caller.
pub(crate) struct ReverseLine {
    pub(crate) outlet: Option<Outlet>,
    pub(crate) closing: bool,
}

impl ReverseLine {
    #[inline]
    pub(crate) fn replying(&mut self) -> PyResult<&mut Outlet> {
        if self.closing {
            return Err(closed());
        }
        self.outlet
            .as_mut()
            .ok_or_else(|| WrongDirectionError::new_err("this side serves nothing, so it cannot reply; `serve` first"))
    }

    /// As `replying`, for a request that came with this id.
    pub(crate) fn replying_to(&mut self, correlation_id: u64) -> PyResult<&mut Outlet> {
        let outlet = self.replying()?;
        outlet.ring.check_correlation(correlation_id).map_err(Raise::raise)?;
        Ok(outlet)
    }
}

impl Settle for ReverseLine {
    fn settle(&mut self, debt: Debt) {
        match (debt, &mut self.outlet) {
            (Debt::RollBack, Some(outlet)) => outlet.roll_back(),
            (Debt::Close, _) => self.closing = true,
            _ => {}
        }
        if self.closing && self.outlet.as_ref().is_some_and(|outlet| outlet.occupied == Occupied::No) {
            self.outlet = None;
        }
    }
}
