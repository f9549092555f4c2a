//! The context of a call whose handler outlives the request's place in the ring.

use std::sync::{Arc, Weak};
#[cfg(feature = "tracing")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::items::{ItemError, Items, StreamSender};
use super::layer::{Context, Origin};
use super::pipe::Pipe;
use crate::connection::Connection;
use crate::engine::{CallerInfo, Watch};
use crate::metadata::Metadata;
use crate::schema::payload::{ItemEncoding, Message};
use crate::sync::{AtomicBool, Ordering};
#[cfg(feature = "tracing")]
use crate::trace_context::TraceContext;
use crate::wait::Deadline;

/// A [`Context`] that owns its data, for tasks and threads: [`get`](Self::get) lends the context. A clone is cheap.
///
/// [`Context::to_owned`] makes one, and
/// [`register_async_with_context`](crate::Dispatcher::register_async_with_context) passes one to its handler.
#[derive(Debug, Clone)]
pub struct OwnedContext(Arc<Call>);

#[derive(Debug)]
struct Call {
    msg_type: u16,
    name: Arc<str>,
    caller: CallerInfo,
    correlation_id: u64,
    request_size: usize,
    is_concurrent: bool,
    deadline: Deadline,
    metadata: Metadata,
    /// Dangling for a request that another copy of this crate took. A handler does not keep the connection alive.
    connection: Option<Weak<Connection>>,
    /// The pipe of a stream whose handler runs outside of the serving thread.
    pipe: Option<Arc<Pipe>>,
    /// Set when the server cancels the call: the server takes a CANCEL from the ring, where `Watch` would find it.
    cancelled: AtomicBool,
    /// The span of a concurrent call, from `before` to `after` of its layer.
    #[cfg(feature = "tracing")]
    span: Mutex<Option<CallSpan>>,
}

/// The span of a call, and its place in a trace.
#[cfg(feature = "tracing")]
#[derive(Debug, Clone)]
pub(crate) struct CallSpan {
    pub(crate) span: tracing::Span,
    pub(crate) trace: TraceContext,
}

impl OwnedContext {
    /// The context.
    pub fn get(&self) -> Context<'_> {
        let call = &*self.0;
        Context {
            msg_type: call.msg_type,
            name: &call.name,
            caller: call.caller,
            correlation_id: call.correlation_id,
            request_size: call.request_size,
            is_concurrent: call.is_concurrent,
            deadline: call.deadline,
            origin: Origin::Owned(self),
        }
    }

    /// The items of the caller, which travel as `M`, for the handler of a stream.
    ///
    /// # Panics
    /// When the handler is of no stream, or runs inside of the serving thread.
    #[doc(hidden)]
    pub fn items<M: Message>(&self) -> Items<M::Owned> {
        Items::over::<M>(self.own_pipe())
    }

    /// The sender of the handler's items.
    ///
    /// # Panics
    /// As [`items`](Self::items).
    #[doc(hidden)]
    pub fn sender<T>(&self, encoding: ItemEncoding<T>) -> StreamSender<T> {
        StreamSender::over(self.own_pipe(), encoding)
    }

    /// Sends an encoded item of the handler, on a thread that waits.
    ///
    /// # Errors
    /// As [`StreamSender::send`].
    pub(crate) fn send_encoded(&self, item: Vec<u8>) -> Result<(), ItemError> {
        Ok(self.own_pipe().wait_send(item)?)
    }

    fn own_pipe(&self) -> Arc<Pipe> {
        self.0.pipe.clone().expect("the signature of the endpoint declares a stream")
    }

    /// A copy of a context.
    pub(super) fn of(context: &Context<'_>, connection: Option<&Arc<Connection>>) -> Self {
        Self::named(context, Arc::from(context.name), connection, None)
    }

    /// A copy of a context, with the endpoint's name.
    pub(super) fn named(
        context: &Context<'_>,
        name: Arc<str>,
        connection: Option<&Arc<Connection>>,
        pipe: Option<&Arc<Pipe>>,
    ) -> Self {
        Self(Arc::new(Call {
            msg_type: context.msg_type,
            name,
            caller: context.caller,
            correlation_id: context.correlation_id,
            request_size: context.request_size,
            is_concurrent: context.is_concurrent,
            deadline: context.deadline,
            metadata: context.metadata().clone(),
            connection: connection.map(Arc::downgrade),
            pipe: pipe.cloned(),
            cancelled: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            span: Mutex::new(None),
        }))
    }

    pub(super) fn own_metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The span of the call.
    #[cfg(feature = "tracing")]
    pub(super) fn span(&self) -> MutexGuard<'_, Option<CallSpan>> {
        // Ignore poisoning: the span is consistent whenever unlocked.
        self.0.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs code of the call's handler inside of the call's span.
    #[cfg(feature = "tracing")]
    pub(super) fn in_span<R>(&self, code: impl FnOnce() -> R) -> R {
        // Unlocked before the code runs.
        let span = self.span().clone();
        let Some(CallSpan { span, trace }) = span else { return code() };
        let _trace = trace.enter();
        span.in_scope(code)
    }

    /// Marks the call as cancelled.
    pub(super) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// As [`Context::is_cancelled`].
    pub(super) fn is_past_use(&self) -> bool {
        let Call { correlation_id, deadline, connection, cancelled, .. } = &*self.0;
        cancelled.load(Ordering::Relaxed)
            || match connection {
                None => deadline.has_passed(),
                Some(connection) => connection
                    .upgrade()
                    .is_none_or(|connection| Watch(&connection).is_cancelled(*correlation_id, *deadline)),
            }
    }
}
