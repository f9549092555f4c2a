//! What a user puts around every call, whichever endpoint it is for.

use std::time::Duration;

use super::handler::is_cancelled;
use crate::engine::{CallerInfo, ErrorKind, Watch};
use crate::foreign;
use crate::wait::Deadline;

/// Sees every request before and after its handler; added with [`Dispatcher::layer`](crate::Dispatcher::layer).
///
/// Layers see requests without an endpoint too, and those whose deadline has passed before their turn; control requests
/// (`ping`) they do not see. They are called on the serving thread, which attends to nothing else meanwhile: with
/// several workers, from all of them. A layer cannot change a request or its reply. Calls whose handler runs elsewhere
/// ([`Context::overlaps`]) are seen when they are taken and when they have been answered.
///
/// A layer that panics takes nothing from the caller: the panic is reported by the panic hook and the call goes on as
/// if the layer had returned.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use tachyon::{Context, Dispatcher, Layer};
/// use tachyon::dispatch::Outcome;
///
/// /// Counts calls that took too long.
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
    /// A request is about to be handled. Layers are asked in the order they were added.
    fn before(&self, call: &Context<'_>) {
        let _ = call;
    }

    /// A request has been handled and answered, on the same thread as `before`, unless the call
    /// [overlaps](Context::overlaps) others; in reverse order. `took` is the time from the last `before` to the reply
    /// in the ring.
    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        let _ = (call, outcome, took);
    }
}

/// A shared layer is one too, so that its owner can read what it has gathered.
impl<L: Layer + ?Sized> Layer for std::sync::Arc<L> {
    fn before(&self, call: &Context<'_>) {
        (**self).before(call);
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        (**self).after(call, outcome, took);
    }
}

/// What is known of a call besides its arguments: for layers, and for a handler that has a parameter
/// `#[context] cx: &Context`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The request's message type.
    pub msg_type: u16,
    /// The endpoint's name; empty when no endpoint has the message type.
    pub name: &'a str,
    /// Who calls.
    pub caller: CallerInfo,
    /// The call's number, which its caller counts up from 1.
    pub correlation_id: u64,
    /// Bytes of the request.
    pub request_size: usize,
    /// Whether the handler runs elsewhere, as an async one does: other calls may come between `before` and `after`, and
    /// the two may be on different threads.
    pub overlaps: bool,
    pub(super) deadline: Deadline,
    pub(super) watch: Option<Watch<'a>>,
}

impl Context<'_> {
    /// How long the caller still waits: `None` when it set no deadline, zero when that has passed. Reads the clock.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }

    /// Whether the answer is wanted no more: the caller cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its [`stop_timeout`](crate::ServerOptions::stop_timeout) is over.
    ///
    /// A handler that runs for long asks this now and then, and ends early: its caller takes no answer. The look is at
    /// the ring and at the caller's process, and makes a system call. An async handler need not ask: its future is
    /// dropped.
    pub fn is_cancelled(&self) -> bool {
        is_cancelled(self.watch, self.correlation_id, self.deadline)
    }
}

/// How a request ended, as a [`Layer`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler answered with this many bytes.
    Replied(usize),
    /// The caller got an error.
    Failed(ErrorKind),
    /// The caller was gone before it could be answered.
    CallerGone,
}

pub(super) type Layers = Vec<Box<dyn Layer>>;

/// Has every layer see a request before its handler.
pub(super) fn before(layers: &Layers, call: &Context<'_>) {
    for layer in layers {
        drop(foreign::run(|| layer.before(call)));
    }
}

/// Has every layer see how a request ended.
pub(super) fn after(layers: &Layers, call: &Context<'_>, outcome: &Outcome, took: Duration) {
    for layer in layers.iter().rev() {
        drop(foreign::run(|| layer.after(call, outcome, took)));
    }
}
