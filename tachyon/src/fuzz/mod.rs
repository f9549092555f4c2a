//! The fuzz targets: this library over hostile memory, sockets and bytes.
//!
//! A target is a function of the fuzzer's input. It checks invariants that hold for any peer, and panics if one does
//! not hold. `tests/fuzz` passes the targets to libFuzzer; the tests here run them over the saved inputs and over
//! random inputs. See `docs/internals/fuzzing.md`.
#![allow(unreachable_pub, reason = "public for the fuzzer alone, which sees this as `__fuzz`")]

#[cfg(fuzzing)]
mod atomics;
mod attack;
mod bell;
mod bus;
mod callee;
mod caller;
mod contract;
mod ends;
mod engine;
mod handshake;
mod hostile;
mod input;
mod pair;
mod scripted_caller;
mod server;
mod stats;
#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub(crate) use atomics::{AtomicU32, AtomicU64};
#[cfg(fuzzing)]
pub(crate) use attack::between_looks;
pub(crate) use attack::{Attacker, armed};
pub use bell::bell;
pub use bus::{receiver, sender};
pub use callee::callee;
pub(crate) use callee::{REPEATED, dispatcher};
pub use caller::caller;
pub use contract::contract;
pub use ends::{consumer, producer};
pub use engine::engine;
pub use handshake::{connector, listener};
pub(crate) use hostile::{Hostile, attack_beside};
pub(crate) use input::Input;
pub(crate) use pair::{Pair, linked};
pub(crate) use scripted_caller::ScriptedCaller;
pub use server::server;
pub use stats::stats;
