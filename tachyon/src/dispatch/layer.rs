//! Layers: code of users that sees every call, and the context of a call.

use std::time::Duration;

use crate::engine::{CallerInfo, ErrorKind, Watch};
use crate::foreign;
use crate::wait::Deadline;

/// Sees every request before and after its handler; added with [`Dispatcher::layer`](crate::Dispatcher::layer).
///
/// A layer also sees requests without an endpoint, and requests whose deadline passes before their turn. It does not
/// see control requests (`ping`), and cannot change a request or its reply. Layers run on the serving thread, which
/// serves no other request meanwhile; with several workers, on the threads of all. A layer sees a concurrent call
/// ([`Context::is_concurrent`]) when the server takes the request and when the call ends.
///
/// The panic of a layer does not reach the caller: the panic hook reports it, and the call goes on.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use tachyon::{Context, Dispatcher, Layer};
/// use tachyon::dispatch::Outcome;
///
/// /// Counts slow calls.
/// #[derive(Default)]
/// struct Slow(AtomicU64);
///
/// impl Layer for Slow {
///     fn after(&self, call: &Context<'_>, _outcome: &Outcome, took: Duration) {
///         if took > Duration::from_millis(10) {
///             self.0.fetch_add(1, Ordering::Relaxed);
///             eprintln!("`{}` took {took:?} for process {:?}", call.name, call.caller.pid);
///         }
///     }
/// }
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.layer(Slow::default());
/// ```
pub trait Layer: Send + Sync {
    /// Runs before the handler. Layers run in the order of their addition.
    fn before(&self, call: &Context<'_>) {
        let _ = call;
    }

    /// Runs after the answer, in reverse order: on the thread of `before`, unless the call is
    /// [concurrent](Context::is_concurrent). `took` is the time from the last `before` to the reply in the ring.
    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        let _ = (call, outcome, took);
    }
}

/// A shared layer, so that its owner can read its data.
impl<L: Layer + ?Sized> Layer for std::sync::Arc<L> {
    fn before(&self, call: &Context<'_>) {
        (**self).before(call);
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        (**self).after(call, outcome, took);
    }
}

/// A call without its arguments: for layers, and for a handler with a parameter `#[context] cx: &Context`.
///
/// ```
/// use tachyon::{Context, tachyon_rpc};
///
/// /// Sums until the caller no longer wants the result.
/// #[tachyon_rpc(msg_type = 1)]
/// fn sum(#[context] cx: &Context, most: u64) -> u64 {
///     (0..most).take_while(|number| number % 1024 != 0 || !cx.is_cancelled()).sum()
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The request's message type.
    pub msg_type: u16,
    /// The endpoint's name; empty when no endpoint has the message type.
    pub name: &'a str,
    /// The caller.
    pub caller: CallerInfo,
    /// The call's number, which the caller counts from 1.
    pub correlation_id: u64,
    /// Length of the request in bytes.
    pub request_size: usize,
    /// Whether the handler runs beside others, as an async handler does: other calls may come between `before` and
    /// `after`, and the two may run on different threads.
    pub is_concurrent: bool,
    pub(super) deadline: Deadline,
    pub(super) watch: Option<Watch<'a>>,
}

impl Context<'_> {
    /// How long the caller still waits: `None` without a deadline, zero after the deadline. Reads the clock.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }

    /// Whether the caller no longer wants the reply: it cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its [`stop_timeout`](crate::ServerOptions::stop_timeout) is over.
    ///
    /// A long handler asks now and then, and returns early. The question reads the ring, and makes a system call about
    /// the caller's process. An async handler need not ask: the server drops its future.
    pub fn is_cancelled(&self) -> bool {
        is_cancelled(self.watch, self.correlation_id, self.deadline)
    }
}

/// Whether a call is cancelled. For a request that another copy of this crate took, only the deadline is known.
#[cold]
pub(super) fn is_cancelled(watch: Option<Watch<'_>>, call: u64, deadline: Deadline) -> bool {
    watch.map_or_else(|| deadline.has_passed(), |watch| watch.is_cancelled(call, deadline))
}

/// How a request ended, as a [`Layer`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler replied with this many bytes.
    Replied(usize),
    /// The caller got an error reply of this kind.
    Failed(ErrorKind),
    /// The caller closed or died before the answer.
    CallerGone,
}

pub(super) type Layers = Vec<Box<dyn Layer>>;

pub(super) fn before(layers: &Layers, call: &Context<'_>) {
    for layer in layers {
        drop(foreign::run(|| layer.before(call)));
    }
}

pub(super) fn after(layers: &Layers, call: &Context<'_>, outcome: &Outcome, took: Duration) {
    for layer in layers.iter().rev() {
        drop(foreign::run(|| layer.after(call, outcome, took)));
    }
}
