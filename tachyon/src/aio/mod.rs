//! Tachyon from async code on tokio. Needs the cargo feature `tokio`.
//!
//! Nothing here blocks a thread of the runtime: what a thread would park on, a task awaits, through the same doorbells.
//! The runtime needs its I/O driver, and its time driver for calls with a timeout
//! ([`enable_all`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.enable_all)).

mod caller;
mod driver;
mod ending;
mod session;
mod watched;

pub use caller::AsyncCaller;
