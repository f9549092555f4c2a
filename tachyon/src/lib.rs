//! Call functions in another process on the same machine, through shared memory.
//!
//! A function becomes an endpoint with [`macro@tachyon_rpc`]; a [`Dispatcher`] serves endpoints on a [`Callee`], and a
//! [`Caller`] in another process calls them. Underneath lies a one-way bus, [`Sender`] and [`Receiver`], which may be
//! used by itself. Either peer may be written in Python, with the package `tachyon-ipc`; neither can tell.
//!
//! ```
//! use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
//!
//! #[tachyon_rpc(msg_type = 1)]
//! fn shout(text: &str, times: u32) -> String {
//!     text.to_uppercase().repeat(times as usize)
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("shout.sock");
//! # let listen_at = path.clone();
//! # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
//! // one process
//! # let path = listen_at;
//! let mut callee = Callee::listen(&path, 1 << 16, 1 << 16)?;
//! Dispatcher::new(endpoints![shout]).serve_forever(&mut callee)?;
//! # Ok(()) });
//!
//! // another process
//! let mut caller = Caller::connect(&path)?;
//! assert_eq!(shout::call(&mut caller, "hello", 2)?, "HELLOHELLO");
//! assert_eq!(shout("plain function", 1), "PLAIN FUNCTION");
//! # drop(caller);
//! # callee.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cargo features
//!
//! Every feature is off by default, and each item that needs one says so.
//!
//! - `tokio`: `AsyncCaller`, and async endpoints and servers on a tokio runtime.
//! - `tracing`: `TracingLayer`, a span per call, traces through several processes, and events for callers that join and
//!   leave.
//! - `msgpack`: endpoints with `codec = "msgpack"`, which exchange any types of serde.
//! - `ndarray`: conversions between [`Tensor`] and the arrays of the crate `ndarray`.
//! - `python`: `tachyon::python`, which exports endpoints of a Python extension to the Python package's dispatcher.
//!
//! # Trust
//!
//! A peer runs as the same user and is not assumed to be correct: nothing it writes can make this process touch memory
//! it should not, hang or crash. It can change the bytes of `&[u8]`, of `&[T]` and of fixed payloads while they are
//! read in place; text and everything else that is checked is copied first.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("tachyon runs on 64-bit little-endian Linux: its wire format and its system calls are Linux's");

mod aligned;
mod binding;
pub mod bus;
pub mod client;
mod connection;
pub mod dispatch;
mod engine;
pub mod error;
mod error_kind;
mod extension;
mod foreign;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod handshake;
mod metadata;
mod options;
mod private;
mod ring;
pub mod rpc;
mod schema;
pub mod server;
mod shm;
pub mod stats;
mod sync;
pub mod testing;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(feature = "tracing")]
mod trace_context;
pub mod type_id;
mod wait;

pub use bus::{Bus, Receiver, Sender};
pub use client::pool::{Pool, PoolOptions};
#[cfg(feature = "tokio")]
pub use client::tokio::AsyncCaller;
pub use connection::State;
pub use dispatch::{Context, Dispatcher, Endpoint, HandlerError, Items, Layer, Reply, Request, StreamSender};
pub use error::{
    CallError, ConnectError, Error, ErrorKind, ItemError, ListenError, PoolError, RecvError, RegisterError, RpcError,
    SendError, ServeError,
};
#[cfg(feature = "python")]
pub use extension::python;
pub use metadata::Metadata;
pub use options::Options;
pub use rpc::{Callee, Caller, RpcBus};
pub use schema::payload::{List, Tensor, TensorRef};
pub use schema::{codegen, describe, payload};
pub use server::{RpcServer, ServerOptions, Stopper};
pub use tachyon_macros::{endpoints, error, payload, tachyon_rpc};
#[cfg(feature = "tracing")]
pub use trace::TracingLayer;
pub use wait::{Interrupt, PollingMode};

/// For the code that the macros generate.
#[doc(hidden)]
pub mod __private {
    pub use crate::private::*;
}

/// For the fuzzer of this repository, which sets the cfg.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod __fuzz {
    pub use crate::fuzz::*;
}

/// For bindings to other languages.
#[doc(hidden)]
pub mod __binding {
    pub use crate::binding::*;
}
