//! A link: callees on another machine, for callers that know nothing of it.
//!
//! A link has two ends. The near end listens at a local socket, and callers connect to it as to any callee. The far end
//! is a caller of the callee on its machine. Between them a [carrier] brings messages: gRPC's protocol over TLS
//! ([`grpc`]), or the memory of one process for tests ([`memory`]).
//!
//! ```text
//! caller -> socket -> near end -> carrier -> far end -> socket -> callee
//! ```
//!
//! Calls, streams, deadlines, cancellations, metadata, errors and descriptions pass through unchanged. The program
//! `tachyon-link` runs either end; `docs/guide/link.md` says how.

mod batches;
mod callee;
pub mod carrier;
pub mod certificates;
pub mod config;
pub mod far;
pub mod grpc;
#[cfg(test)]
mod hostile_peers;
pub mod memory;
pub mod near;
pub mod tls;
mod wire;

pub use far::{AllowAll, FarEnd, FarOptions, Policy};
pub use near::{LinkError, NearEnd, NearOptions};
