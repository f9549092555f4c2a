//! Callers for async code on tokio. Needs the cargo feature `tokio`.
//!
//! [`AsyncCaller`] calls: by number, the generated `call_async` of an endpoint, or the generated async client of a
//! service. [`AsyncCaller::open`] and the generated `stream` of an endpoint open a stream.
//!
//! To serve, add async endpoints to a [`Dispatcher`](crate::Dispatcher) with
//! [`register_async`](crate::Dispatcher::register_async), and serve an [`RpcServer`](crate::RpcServer) with
//! [`serve_async`](crate::Dispatcher::serve_async).
//!
//! No operation blocks a thread of the runtime: a task awaits the socket on which a thread would park. The runtime
//! needs its I/O driver and its time driver
//! ([`enable_all`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.enable_all)).

mod caller;
mod descriptors;
mod driver;
mod session;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod typed;

pub use caller::AsyncCaller;
pub(crate) use descriptors::Readable;
#[doc(hidden)]
pub use stream::stream;
pub use stream::{AsyncStream, RawMessage, RawStream};
#[doc(hidden)]
pub use typed::call_async;
