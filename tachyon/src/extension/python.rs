//! Endpoints in Rust for a dispatcher in Python.
//!
//! An extension module of your own exports its `#[tachyon_rpc]` functions in one line, and Python registers them beside
//! its own. They run without the interpreter: on the thread that serves, whoever holds its lock.
//!
//! ```no_run
//! # fn main() {}
//! use pyo3::prelude::*;
//! use tachyon::{endpoints, tachyon_rpc};
//!
//! /// The sum of many numbers.
//! #[tachyon_rpc(msg_type = 2)]
//! fn total(numbers: &[f64]) -> f64 {
//!     numbers.iter().sum()
//! }
//!
//! # #[cfg(any())]
//! #[pymodule]
//! fn pricing(module: &Bound<'_, PyModule>) -> PyResult<()> {
//!     tachyon::python::export(module, endpoints![total])
//! }
//! # fn pricing(module: &Bound<'_, PyModule>) -> PyResult<()> {
//! #     tachyon::python::export(module, endpoints![total])
//! # }
//! ```
//!
//! ```text
//! dispatcher.register(pricing.total).serve_forever(bus)
//! ```
//!
//! The extension has a copy of this crate of its own. When it is imported, the one in the Python package checks that the
//! two fit together, and raises `tachyon.ExtensionError`, an `ImportError`, when they do not.
#![allow(unsafe_code, reason = "is called by another copy of this crate")]

use core::ffi::CStr;
use core::slice;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::dispatch::{Asked, Due, Entry, EntryHandler, HandlerError, Replied, Reply, Request};
use crate::engine::CallerInfo;
use crate::extension::{ABI, Call, Endpoint, Head, HostReply, MAGIC, NO_USER, Sizes, Text};
use crate::foreign;
use crate::schema::describe::Description;
use crate::wait::Deadline;

/// What the capsule is called that an endpoint travels in.
const CAPSULE: &CStr = c"tachyon.RustEndpoint";

/// Adds endpoints without state to a module, each under its name, for `RpcDispatcher.register`.
///
/// # Errors
/// What importing `tachyon` raises, or `ExtensionError` when it does not fit this crate.
pub fn export(module: &Bound<'_, PyModule>, endpoints: &[Entry<()>]) -> PyResult<()> {
    export_with_state(module, (), endpoints)
}

/// As [`export`], for endpoints that share `state`. It lives as long as one of them does.
///
/// Handlers of a server with several workers run side by side. Where none of the endpoints changes the state they share
/// it as it is; where one does, it runs alone, and the others beside each other, under a lock.
///
/// # Errors
/// As [`export`].
pub fn export_with_state<S: Send + Sync + 'static>(
    module: &Bound<'_, PyModule>,
    state: S,
    endpoints: &[Entry<S>],
) -> PyResult<()> {
    let py = module.py();
    let shelf = if endpoints.iter().any(Entry::is_exclusive) {
        Shelf::Locked(RwLock::new(state))
    } else {
        Shelf::Shared(state)
    };
    let shelf = Arc::new(shelf);
    let class = py.import("tachyon")?.getattr("RustEndpoint")?;
    for entry in endpoints {
        let capsule = PyCapsule::new_with_value(py, Exported::new(entry, Arc::clone(&shelf)), CAPSULE)?;
        module.add(entry.name(), class.call1((capsule,))?)?;
    }
    Ok(())
}

/// The state of some endpoints, for as many threads as there are.
enum Shelf<S> {
    Shared(S),
    /// Somebody changes it.
    Locked(RwLock<S>),
}

/// An endpoint as the other copy sees it, and behind that what only this one knows.
#[repr(C)]
struct Exported<S: 'static> {
    /// First: its address is the whole's.
    endpoint: Endpoint,
    msg_type: u16,
    handler: EntryHandler<S>,
    shelf: Arc<Shelf<S>>,
    /// What `endpoint.description` lends.
    #[allow(dead_code, reason = "read through the endpoint")]
    json: Box<str>,
}

// SAFETY: the raw parts lend constants and `json`, which move with it and are never changed; the state may be shared.
unsafe impl<S: Send + Sync> Send for Exported<S> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync> Sync for Exported<S> {}

impl<S: Send + Sync + 'static> Exported<S> {
    fn new(entry: &Entry<S>, shelf: Arc<Shelf<S>>) -> Self {
        let json = Description::new(vec![entry.signature().into()]).to_json().into_boxed_str();
        let endpoint = Endpoint {
            head: Head { magic: MAGIC, abi: ABI, flags: 0, version: Text::of(env!("CARGO_PKG_VERSION")) },
            sizes: Sizes::OWN,
            description: Text::of(&json),
            run: run::<S>,
        };
        Self { endpoint, msg_type: entry.msg_type(), handler: entry.handler(), shelf, json }
    }

    fn answer(&self, request: Request<'_>, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        match (self.handler, &*self.shelf) {
            (EntryHandler::Stateless(handler), _) => handler(&(), request, reply),
            (EntryHandler::Shared(handler), Shelf::Shared(state)) => handler(state, request, reply),
            // A handler that panicked has left the state as a handler that returned an error would.
            (EntryHandler::Shared(handler), Shelf::Locked(state)) => {
                handler(&state.read().unwrap_or_else(PoisonError::into_inner), request, reply)
            }
            (EntryHandler::Exclusive(handler), Shelf::Locked(state)) => {
                handler(&mut state.write().unwrap_or_else(PoisonError::into_inner), request, reply)
            }
            // There is a lock where there is such a handler.
            (EntryHandler::Exclusive(_), Shelf::Shared(_)) => {
                Err(HandlerError::failed("changes the state, which others are using"))
            }
        }
    }
}

/// Handles a request that the other copy has taken.
///
/// # Safety
/// As [`Endpoint::run`] asks.
unsafe extern "C" fn run<S: Send + Sync + 'static>(endpoint: *const Endpoint, call: *const Call) {
    // SAFETY: `new` made this function the one of an `Exported<S>`, of which the endpoint is the beginning.
    let exported = unsafe { &*endpoint.cast::<Exported<S>>() };
    // SAFETY: valid for this call.
    let call = unsafe { &*call };
    // SAFETY: valid for this call, as its steps are.
    let steps = unsafe { &*call.steps };
    // SAFETY: those of a call that goes on until this function returns.
    let host = unsafe { HostReply::new(call.host, steps) };
    let outcome = foreign::run(|| {
        // SAFETY: not null, and valid for this call; shared memory is read as a slice as everywhere (`slice.rs`).
        let payload = unsafe { slice::from_raw_parts(call.request, call.request_len) };
        let caller = CallerInfo {
            id: call.caller_id,
            pid: Some(call.caller_pid).filter(|pid| *pid != 0),
            uid: Some(call.caller_uid).filter(|uid| *uid != NO_USER),
        };
        let deadline = Deadline::at_nanos(call.deadline);
        let due = Due { msg_type: exported.msg_type, correlation_id: call.correlation_id };
        let asked = Asked::elsewhere(payload, due, deadline, &caller);
        exported.answer(Request::new(&asked), Reply::through(host, &due))
    });
    let error = match outcome {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error,
        Err(panicked) => HandlerError::failed(panicked),
    };
    let (kind, body) = error.parts();
    host.fail(kind, body);
}
