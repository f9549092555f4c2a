//! Layers: code of users that sees every call and may refuse it, and the context of a call.

use std::time::Duration;

use super::error::HandlerError;
#[cfg(feature = "tracing")]
use super::owned_context::CallSpan;
use super::owned_context::OwnedContext;
use crate::connection::Rx;
use crate::engine::{CallerInfo, ErrorKind, Watch};
use crate::foreign;
use crate::metadata::Metadata;
use crate::wait::Deadline;

/// Sees every request before and after its handler, and may refuse it; added with
/// [`Dispatcher::layer`](crate::Dispatcher::layer).
///
/// A layer also sees requests without an endpoint, and requests whose deadline passes before their turn. It does not
/// see control requests (`ping`), and cannot change a request, or the reply of a handler. Layers run on the serving
/// thread, which serves no other request meanwhile; with several workers, on the threads of all. A layer sees a
/// concurrent call ([`Context::is_concurrent`]) when the server takes the request and when the call ends.
///
/// A panic in `before` refuses the call with [`HandlerFailed`](ErrorKind::HandlerFailed): a layer that checks callers
/// lets no call through by mistake. A panic in `after` is reported by the panic hook alone.
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
///
/// A layer that refuses callers without a token:
///
/// ```
/// use tachyon::{Context, ErrorKind, HandlerError, Layer};
///
/// struct Authenticated {
///     token: String,
/// }
///
/// impl Layer for Authenticated {
///     fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
///         match call.metadata().get("authorization") {
///             Some(token) if token == self.token => Ok(()),
///             _ => Err(HandlerError::new(ErrorKind::Unauthenticated, "send a token as `authorization`")),
///         }
///     }
/// }
/// ```
pub trait Layer: Send + Sync {
    /// Runs before the handler. Layers run in the order of their addition.
    ///
    /// # Errors
    /// An error refuses the call: its caller gets the error's kind, and its text unless the endpoint is raw or texts
    /// are [hidden](crate::Dispatcher::hide_error_text). Neither the layers behind this one nor the handler run, and
    /// only the layers before this one see the end of the call in [`after`](Self::after).
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        let _ = call;
        Ok(())
    }

    /// Runs after the answer, in reverse order: on the thread of `before`, unless the call is
    /// [concurrent](Context::is_concurrent). `took` is the time from the last `before` to the reply in the ring.
    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        let _ = (call, outcome, took);
    }
}

/// A shared layer, so that its owner can read its data.
impl<L: Layer + ?Sized> Layer for std::sync::Arc<L> {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        (**self).before(call)
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
    pub(crate) deadline: Deadline,
    pub(super) origin: Origin<'a>,
}

/// Where the request of a call is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// In a ring: the handler keeps the serving thread.
    Ring(&'a Rx),
    /// Nowhere: the handler runs beside the serving thread.
    Owned(&'a OwnedContext),
    /// With another copy of this crate, which took it from its ring.
    #[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only an extension has such requests"))]
    Foreign(&'a Metadata),
}

impl<'a> Context<'a> {
    /// The texts that the caller sent beside the request.
    ///
    /// ```
    /// use tachyon::{Context, tachyon_rpc};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn tenant(#[context] cx: &Context) -> String {
    ///     cx.metadata().get("tenant").unwrap_or("none").to_owned()
    /// }
    /// ```
    pub fn metadata(&self) -> &'a Metadata {
        match self.origin {
            Origin::Ring(rx) => rx.metadata(),
            Origin::Owned(call) => call.own_metadata(),
            Origin::Foreign(metadata) => metadata,
        }
    }

    /// A context that outlives the handler's parameter, for a thread or a task that the handler starts.
    ///
    /// ```
    /// use tachyon::{Context, tachyon_rpc};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn search(#[context] cx: &Context, most: u64) -> u64 {
    ///     let cx = cx.to_owned();
    ///     let search = std::thread::spawn(move || (0..most).take_while(|_| !cx.get().is_cancelled()).count());
    ///     search.join().map_or(0, |found| found as u64)
    /// }
    /// ```
    #[allow(clippy::should_implement_trait, reason = "a `ToOwned` for a type with `Clone` gives the type itself")]
    pub fn to_owned(&self) -> OwnedContext {
        match self.origin {
            Origin::Owned(call) => call.clone(),
            Origin::Ring(rx) => OwnedContext::of(self, Some(&rx.connection)),
            Origin::Foreign(_) => OwnedContext::of(self, None),
        }
    }

    /// Keeps the span of a concurrent call.
    #[cfg(feature = "tracing")]
    pub(crate) fn set_span(&self, span: CallSpan) {
        if let Origin::Owned(call) = self.origin {
            *call.span() = Some(span);
        }
    }

    /// Takes the span of a concurrent call.
    #[cfg(feature = "tracing")]
    pub(crate) fn take_span(&self) -> Option<CallSpan> {
        let Origin::Owned(call) = self.origin else { return None };
        call.span().take()
    }

    /// How long the caller still waits: `None` without a deadline, zero after the deadline. Reads the clock.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }

    /// Whether the caller no longer wants the reply: it cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its [`stop_timeout`](crate::ServerOptions::stop_timeout) is over.
    ///
    /// A long handler asks now and then, and returns early. The question reads the ring, and makes a system call about
    /// the caller's process. An async handler need not ask between two `await`s: the server drops its future.
    #[cold]
    pub fn is_cancelled(&self) -> bool {
        match self.origin {
            Origin::Ring(rx) => Watch(&rx.connection).is_cancelled(self.correlation_id, self.deadline),
            Origin::Owned(call) => call.is_past_use(),
            // Another copy of this crate has the connection: only the deadline is known here.
            Origin::Foreign(_) => self.deadline.has_passed(),
        }
    }
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

/// The refusal of a call.
#[derive(Debug)]
pub(super) struct Refused {
    /// The number of layers before the one that refused the call.
    pub(super) passed: usize,
    pub(super) error: HandlerError,
}

/// Runs the layers until one of them refuses the call.
pub(super) fn before(layers: &Layers, call: &Context<'_>) -> Result<(), Refused> {
    for (passed, layer) in layers.iter().enumerate() {
        let outcome = foreign::run(|| layer.before(call));
        outcome
            .unwrap_or_else(|panicked| Err(HandlerError::failed(format_args!("a layer {panicked}"))))
            .map_err(|error| Refused { passed, error })?;
    }
    Ok(())
}

/// Reports the end of a call to the layers that let it pass.
pub(super) fn after(layers: &[Box<dyn Layer>], call: &Context<'_>, outcome: &Outcome, took: Duration) {
    for layer in layers.iter().rev() {
        drop(foreign::run(|| layer.after(call, outcome, took)));
    }
}
