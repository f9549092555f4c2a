//! Control requests that come to a loop in Python, which never sees them.

use core::time::Duration;
use std::time::Instant;

use pyo3::prelude::*;
use tachyon::__binding::{Taking, answer_control};
use tachyon::ServeError;

use crate::ends::{Inlet, Occupied};
use crate::errors::Raise;
use crate::rpc_bus::RpcBus;

/// How often, and how long apart, the reply ring is asked for while another thread has it.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_micros(500);

/// What is left of a timeout when requests that do not count have come first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    timeout: Option<Duration>,
    began: Option<Instant>,
}

impl Patience {
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

/// Answers a control request on a bus that is served by hand, and releases it.
///
/// The reply ring may be in use: by another thread for moments, or by a guard that is open. A request for which it does
/// not come free is let go; its caller asks again.
#[cold]
pub(crate) fn answer(py: Python<'_>, bus: &RpcBus, inlet: &mut Inlet, taking: Taking) -> PyResult<()> {
    for _ in 0..if taking.is_cancel() { 0 } else { TRIES } {
        if let Ok(mut reverse) = bus.reverse()
            && let Ok(outlet) = reverse.replying()
            && outlet.occupied == Occupied::No
        {
            return answer_control(&mut inlet.ring, &mut outlet.ring, taking).map_err(Raise::raise);
        }
        py.detach(|| std::thread::sleep(PAUSE));
    }
    inlet.ring.release(taking.position());
    Ok(())
}
