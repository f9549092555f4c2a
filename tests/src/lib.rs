//! Tests of Tachyon through its public interface, in `tests/`, mostly between two processes.
//!
//! The other process is a program of this crate, in `src/bin`. [`process::Peer`] runs such a program and ends it.

pub mod allocation;
pub mod calls;
pub mod chaos;
pub mod context;
pub mod contract;
pub mod evolution;
pub mod fork;
pub mod kinds;
pub mod lingering;
pub mod message;
pub mod mishaps;
pub mod packed;
pub mod pricing;
pub mod proc;
pub mod process;
pub mod raw_caller;
pub mod raw_streams;
pub mod sandbox;
pub mod server;
pub mod service;
pub mod stock;
pub mod streaming;
pub mod temporary;
pub mod test_run;
pub mod userfault;
pub mod wait;
pub mod wire;

/// The README, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The page on tests, whose Rust program runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/testing.md")]
#[derive(Debug)]
pub struct Testing;

/// The guide, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/rust.md")]
#[derive(Debug)]
pub struct Guide;

/// The page about calls, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/calling.md")]
#[derive(Debug)]
pub struct Calling;

/// The page of msgpack, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/msgpack.md")]
#[derive(Debug)]
pub struct Msgpack;

/// The page of tensors, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/tensors.md")]
#[derive(Debug)]
pub struct Tensors;

/// The page of streams, whose Rust program runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/streams.md")]
#[derive(Debug)]
pub struct Streams;
