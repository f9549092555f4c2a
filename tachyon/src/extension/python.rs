//! Endpoints in Rust for a dispatcher in Python. Needs the cargo feature `python`.
//!
//! An extension module exports its `#[tachyon_rpc]` functions in one line, and Python registers them beside its own
//! endpoints. They run on the serving thread, without the GIL.
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
//! The extension has its own copy of this crate. On import, the copy in the Python package compares both interfaces,
//! and raises `tachyon.ExtensionError`, an `ImportError`, if they differ: build both with the same version.
#![allow(unsafe_code, reason = "another copy of this crate calls it")]

use core::ffi::CStr;
use core::slice;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::dispatch::{Entry, EntryHandler, HandlerError, HandlerResult, Reply, ReplyTarget, Request, RequestParts};
use crate::engine::CallerInfo;
use crate::extension::{ABI, Call, Endpoint, Head, HostReply, MAGIC, NO_USER, Sizes, Text};
use crate::foreign;
use crate::metadata::Metadata;
use crate::schema::describe::Description;
use crate::wait::Deadline;

/// The name of the capsule with an endpoint.
const CAPSULE: &CStr = c"tachyon.RustEndpoint";

/// Adds endpoints without state to a module, each by its name, for `RpcDispatcher.register`.
///
/// # Errors
/// The exception of importing `tachyon`; `ExtensionError` when the package has another interface; `TypeError` for an
/// async endpoint.
pub fn export(module: &Bound<'_, PyModule>, endpoints: &[Entry<()>]) -> PyResult<()> {
    export_with_state(module, (), endpoints)
}

/// As [`export`], for endpoints that share `state`, which lives as long as one of them.
///
/// Handlers of a server with several workers run in parallel. If no endpoint changes the state, they share it without a
/// lock. Otherwise they share it under a readers-writer lock: an endpoint that changes the state runs alone.
///
/// # Errors
/// As [`export`].
pub fn export_with_state<S: Send + Sync + 'static>(
    module: &Bound<'_, PyModule>,
    state: S,
    endpoints: &[Entry<S>],
) -> PyResult<()> {
    let py = module.py();
    if let Some(entry) = endpoints.iter().find(|entry| entry.is_async()) {
        return Err(PyTypeError::new_err(format!(
            "the Rust endpoint `{}` is async, and Python runs no futures of Rust; export it as a plain function",
            entry.name()
        )));
    }
    if let Some(entry) = endpoints.iter().find(|entry| entry.is_stream()) {
        return Err(PyTypeError::new_err(format!(
            "the Rust endpoint `{}` is a stream, which no extension serves; export it as a plain function",
            entry.name()
        )));
    }
    let state = if endpoints.iter().any(Entry::is_exclusive) {
        SharedState::Locked(RwLock::new(state))
    } else {
        SharedState::ReadOnly(state)
    };
    let state = Arc::new(state);
    let class = py.import("tachyon")?.getattr("RustEndpoint")?;
    for entry in endpoints {
        let capsule = PyCapsule::new_with_value(py, Exported::new(entry, Arc::clone(&state)), CAPSULE)?;
        module.add(entry.name(), class.call1((capsule,))?)?;
    }
    Ok(())
}

/// The state of endpoints, for any number of threads.
enum SharedState<S> {
    ReadOnly(S),
    /// An endpoint changes the state.
    Locked(RwLock<S>),
}

/// An endpoint as the host sees it, followed by the fields of this copy.
#[repr(C)]
struct Exported<S: 'static> {
    /// First, so that both have the same address.
    endpoint: Endpoint,
    msg_type: u16,
    handler: EntryHandler<S>,
    state: Arc<SharedState<S>>,
    /// The text of `endpoint.description`.
    #[allow(dead_code, reason = "read through the endpoint")]
    json: Box<str>,
}

// SAFETY: the raw pointers are of constants and of `json`, whose heap memory never moves or changes; the state is
// `Send` and `Sync`.
unsafe impl<S: Send + Sync> Send for Exported<S> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync> Sync for Exported<S> {}

impl<S: Send + Sync + 'static> Exported<S> {
    fn new(entry: &Entry<S>, state: Arc<SharedState<S>>) -> Self {
        let json = Description::new(vec![entry.signature().into()]).to_json().into_boxed_str();
        let endpoint = Endpoint {
            head: Head { magic: MAGIC, abi: ABI, flags: 0, version: Text::of(env!("CARGO_PKG_VERSION")) },
            sizes: Sizes::OWN,
            description: Text::of(&json),
            run: run::<S>,
        };
        Self { endpoint, msg_type: entry.msg_type(), handler: entry.handler(), state, json }
    }

    fn answer(&self, request: Request<'_>, reply: Reply<'_>) -> HandlerResult {
        match (self.handler, &*self.state) {
            (EntryHandler::Stateless(handler), _) => handler(&(), request, reply),
            (EntryHandler::Shared(handler), SharedState::ReadOnly(state)) => handler(state, request, reply),
            // Ignores poisoning: a panic leaves the state as an error of the handler would.
            (EntryHandler::Shared(handler), SharedState::Locked(state)) => {
                handler(&state.read().unwrap_or_else(PoisonError::into_inner), request, reply)
            }
            (EntryHandler::Exclusive(handler), SharedState::Locked(state)) => {
                handler(&mut state.write().unwrap_or_else(PoisonError::into_inner), request, reply)
            }
            // Unreachable: `export_with_state` locks the state of such a handler.
            (EntryHandler::Exclusive(_), SharedState::ReadOnly(_)) => {
                Err(HandlerError::failed("changes the state, which others are using"))
            }
            // Unreachable: `export_with_state` refuses such an endpoint.
            (EntryHandler::Stream(_) | EntryHandler::Thread(..) | EntryHandler::ThreadStateless(_), _) => {
                Err(HandlerError::failed("is a stream, which no extension serves"))
            }
            (EntryHandler::Async(..) | EntryHandler::AsyncStateless(_), _) => {
                Err(HandlerError::failed("is async, and there is no runtime to run it"))
            }
        }
    }
}

/// Handles a request of the host.
///
/// # Safety
/// As [`Endpoint::run`] asks.
unsafe extern "C" fn run<S: Send + Sync + 'static>(endpoint: *const Endpoint, call: *const Call) {
    // SAFETY: only `new` uses this function, for an endpoint at the beginning of an `Exported<S>`.
    let exported = unsafe { &*endpoint.cast::<Exported<S>>() };
    // SAFETY: valid for this call.
    let call = unsafe { &*call };
    // SAFETY: valid for this call, as its steps are.
    let steps = unsafe { &*call.steps };
    // SAFETY: those of a call that lasts until this function returns.
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
        let target = ReplyTarget::call(exported.msg_type, call.correlation_id);
        // SAFETY: not null, and valid for this call.
        let metadata = unsafe { slice::from_raw_parts(call.metadata, call.metadata_len) };
        let metadata = Metadata::split(metadata).map(|(_, metadata)| metadata).unwrap_or_default();
        let parts = RequestParts::foreign(payload, target, deadline, &caller, &metadata);
        exported.answer(Request::new(&parts), Reply::through(host, &target))
    });
    let error = match outcome {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error,
        Err(panicked) => HandlerError::failed(panicked),
    };
    let (kind, body) = error.parts();
    host.fail(kind, body);
}
