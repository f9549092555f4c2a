//! Tachyon's ring, its waiting and the life of its connections, compiled anew over loom's atomics.
//!
//! The rooms `ring`, `wait`, `connection` and `engine` below are the library's own files. The rest of the library has stand-ins here:
//! words whose every interleaving and every permitted reordering loom tries ([`sync`]), memory that tells loom of each
//! access to a payload ([`shm`]), a kernel with a socket, `poll` and a clock ([`kernel`]), and a handshake that hands
//! both ends to one program. `docs/model-checking.md` says what is covered, and how to see a model fail.
#![cfg(loom)]
#![allow(dead_code, reason = "the models use a part of each room")]
#![allow(unreachable_pub, reason = "what is public in the library is private here")]
#![allow(unused_imports, reason = "the models use a part of each room")]

mod connection;
mod engine;
mod handshake;
mod kernel;
mod options;
mod shm;
mod sync;

#[path = "../../../tachyon/src/aligned.rs"]
mod aligned;
#[path = "../../../tachyon/src/ring/mod.rs"]
mod ring;
#[path = "../../../tachyon/src/type_id.rs"]
mod type_id;
#[path = "../../../tachyon/src/wait/mod.rs"]
mod wait;

pub mod callers;
pub mod exchanges;
pub mod models;
pub mod rings;
pub mod sleepers;

pub use kernel::{FENCED, SECOND_LOOK, UNFENCED, Wakers};
