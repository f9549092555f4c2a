//! How a bus of either kind opens and closes.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tachyon::__binding::Closer;
use tachyon::Options;

use crate::args::{self, Integer};
use crate::errors::BusClosedError;
use crate::runtime::interrupt::asked_to_stop;

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
    Ok(options(None, any_uid)?.timeout(args::timeout(timeout)?.unwrap_or(Duration::MAX)))
}

/// The options of a caller's `connect`, which may request ring sizes.
pub(crate) fn calling_options(
    timeout: Option<f64>,
    any_uid: bool,
    ring_sizes: Option<(Integer, Integer)>,
) -> PyResult<Options> {
    let options = connect_options(timeout, any_uid)?;
    let Some((forward, reverse)) = ring_sizes else { return Ok(options) };
    Ok(options.ring_sizes(args::size("ring_sizes", forward)?, args::size("ring_sizes", reverse)?))
}

/// The closer of a bus, shared with a caller that may reconnect. `close` takes it out, so that only open guards keep
/// the memory mapped.
#[derive(Clone)]
pub(crate) struct SharedCloser(Arc<Mutex<Option<Closer>>>);

impl SharedCloser {
    fn lock(&self) -> MutexGuard<'_, Option<Closer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the closer of a new connection in place. Returns false when the bus was closed meanwhile, and closes the
    /// new connection then.
    pub(crate) fn replace(&self, closer: Closer) -> bool {
        let mut present = self.lock();
        if present.is_none() {
            closer.close();
            return false;
        }
        *present = Some(closer);
        true
    }
}

/// The state and the path of a connection.
pub(crate) struct Lifetime {
    path: PathBuf,
    closer: SharedCloser,
}

impl Lifetime {
    pub(crate) fn new(path: PathBuf, closer: Closer) -> Self {
        Self { path, closer: SharedCloser(Arc::new(Mutex::new(Some(closer)))) }
    }

    fn present_closer(&self) -> MutexGuard<'_, Option<Closer>> {
        self.closer.lock()
    }

    /// The closer for a caller that may reconnect.
    pub(crate) fn shared_closer(&self) -> SharedCloser {
        self.closer.clone()
    }

    /// Closes the connection: the peer and waiting threads of this process see the end. Returns false when it was
    /// closed before.
    pub(crate) fn close(&self) -> bool {
        let closer = self.present_closer().take();
        if let Some(closer) = &closer {
            closer.close();
        }
        closer.is_some()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.present_closer().is_none()
    }

    /// The connection's closer.
    ///
    /// # Errors
    /// `BusClosedError` once the bus is closed.
    pub(crate) fn open(&self) -> PyResult<Closer> {
        self.present_closer().clone().ok_or_else(closed)
    }

    pub(crate) fn describe(&self, name: &str) -> String {
        let state = self
            .present_closer()
            .as_ref()
            .map_or_else(|| "closed".to_owned(), |closer| format!("{:?}", closer.state()));
        format!("<tachyon.{name} path='{}' state={}>", self.path.display(), state.to_lowercase())
    }
}

/// The error for a use after `close`.
#[cold]
pub(crate) fn closed() -> PyErr {
    BusClosedError::new_err("this bus is closed; listen or connect again")
}
