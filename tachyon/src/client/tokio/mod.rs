//! Tachyon from async code on tokio. Needs the cargo feature `tokio`.
//!
//! [`AsyncCaller`] calls. To serve, give a [`Dispatcher`](crate::Dispatcher) async endpoints with
//! [`register_async`](crate::Dispatcher::register_async) and a [`RpcServer`](crate::RpcServer) with
//! [`serve_async`](crate::Dispatcher::serve_async).
//!
//! Nothing here blocks a thread of the runtime: what a thread would park on, a task awaits, through the same socket.
//! The runtime needs its I/O driver and its time driver
//! ([`enable_all`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.enable_all)).

mod caller;
mod driver;
mod session;
mod watched;

pub use caller::AsyncCaller;
pub(crate) use watched::Readable;
