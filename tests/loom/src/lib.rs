//! Models of Tachyon's ring, waits and connections: the library's files, compiled with loom's atomics.
//!
//! The modules `ring`, `wait`, `connection` and `engine` are the library's own files. This crate replaces the rest:
//! atomics whose every interleaving and permitted reordering loom tries ([`sync`]), memory that reports each access to
//! a payload to loom ([`shm`]), a kernel with a socket, `poll` and a clock ([`kernel`]), and a handshake that returns
//! both ends. `docs/internals/model-checking.md` describes the models and their limits.
#![cfg(loom)]
#![allow(dead_code, reason = "the models use a part of each module")]
#![allow(unreachable_pub, reason = "public items of the library are private here")]
#![allow(unused_imports, reason = "the models use a part of each module")]

mod connection;
mod engine;
mod handshake;
mod kernel;
mod options;
mod shm;
mod sync;

#[path = "../../../tachyon/src/aligned.rs"]
mod aligned;
#[path = "../../../tachyon/src/metadata.rs"]
mod metadata;
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
pub mod streams;

pub use kernel::{FENCED, SECOND_LOOK, UNFENCED, Wakers};
