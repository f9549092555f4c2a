//! The two rings of an RPC bus as whoever has their turn sees them.

use pyo3::prelude::*;
use tachyon::__binding::rpc_caller;
use tachyon::PollingMode;

use crate::calling::Calling;
use crate::ends::{Inlet, Occupied, Outlet};
use crate::errors::{Raise, WrongDirectionError};
use crate::lifetime::closed;
use crate::turn::{Debt, Settle};

/// What this side is, and what it does with the forward ring.
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
}

impl ForwardLine {
    pub(crate) fn check_open(&self) -> PyResult<()> {
        if self.closing { Err(closed()) } else { Ok(()) }
    }

    /// The calling end; an undecided bus becomes it.
    #[inline]
    pub(crate) fn calling(&mut self) -> PyResult<&mut Calling> {
        self.check_open()?;
        if let Forward::Undecided(bus) = &self.end {
            let mut calling = Calling::new(rpc_caller(bus).map_err(Raise::raise)?);
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
        self.check_open()?;
        match &mut self.end {
            Forward::Serving(inlet) => Ok(inlet),
            Forward::Calling(_) => {
                Err(WrongDirectionError::new_err("this side calls, so it cannot serve; open a second bus for that"))
            }
            Forward::Undecided(_) | Forward::Closed => Err(closed()),
        }
    }

    fn let_go(&mut self) {
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
