//! Opening and closing, the same for both kinds of bus.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tachyon::__binding::Closer;
use tachyon::Options;

use crate::args;
use crate::errors::BusClosedError;
use crate::interrupt::asked_to_stop;

/// The options of `listen` and `connect`.
pub(crate) fn options(timeout: Option<f64>, any_uid: bool) -> PyResult<Options> {
    let options = Options::new().interrupt(asked_to_stop).any_uid(any_uid);
    Ok(match args::timeout(timeout)? {
        Some(limit) => options.timeout(limit),
        None => options,
    })
}

/// The options of `connect`, where no timeout means no limit.
pub(crate) fn connect_options(timeout: Option<f64>, any_uid: bool) -> PyResult<Options> {
    options(Some(timeout.unwrap_or(f64::INFINITY)), any_uid)
        .map(|options| if timeout.is_none() { options.timeout(core::time::Duration::MAX) } else { options })
}

/// A connection's life as seen from Python.
pub(crate) struct Lifetime {
    path: PathBuf,
    /// Taken when the bus is closed, so that nothing keeps the memory mapped but guards that are still open.
    closer: Mutex<Option<Closer>>,
}

impl Lifetime {
    pub(crate) fn new(path: PathBuf, closer: Closer) -> Self {
        Self { path, closer: Mutex::new(Some(closer)) }
    }

    fn closer(&self) -> MutexGuard<'_, Option<Closer>> {
        self.closer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the peer, and this process's threads that wait; false when that was done before.
    pub(crate) fn close(&self) -> bool {
        let closer = self.closer().take();
        if let Some(closer) = &closer {
            closer.close();
        }
        closer.is_some()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closer().is_none()
    }

    /// The connection's closer.
    ///
    /// # Errors
    /// `BusClosedError` once it is closed.
    pub(crate) fn open(&self) -> PyResult<Closer> {
        self.closer().clone().ok_or_else(closed)
    }

    pub(crate) fn describe(&self, name: &str) -> String {
        let state =
            self.closer().as_ref().map_or_else(|| "closed".to_owned(), |closer| format!("{:?}", closer.state()));
        format!("<tachyon.{name} path='{}' state={}>", self.path.display(), state.to_lowercase())
    }
}

/// Use after close.
#[cold]
pub(crate) fn closed() -> PyErr {
    BusClosedError::new_err("this bus is closed; listen or connect again")
}
