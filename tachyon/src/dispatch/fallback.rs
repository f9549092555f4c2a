//! The fallback of a dispatcher, which answers the requests that no endpoint of the table takes: the base of a proxy.

use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

use super::error::HandlerError;
use super::items::{Items, StreamSender};
use super::layer::Context;
use super::owned_context::OwnedContext;
use super::reply::AsyncReply;
use super::request::Request;
use super::task::{HandlerFuture, OwnedStartHandler};
use crate::engine::ErrorKind;
use crate::schema::describe::Description;
use crate::schema::payload::ItemEncoding;

/// A request that no endpoint of the table takes: a copy of its bytes, and the context of its call.
#[derive(Debug)]
pub struct FallbackRequest {
    payload: Vec<u8>,
    context: OwnedContext,
}

impl FallbackRequest {
    fn new(request: Request<'_>, context: OwnedContext) -> Self {
        Self { payload: request.payload().to_vec(), context }
    }

    /// The message type of the request.
    pub fn msg_type(&self) -> u16 {
        self.context.get().msg_type
    }

    /// The bytes of the request.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Moves the bytes of the request out.
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// The call: its caller, its deadline, its metadata.
    pub fn context(&self) -> Context<'_> {
        self.context.get()
    }

    /// As [`context`](Self::context), for code that outlives the request.
    pub fn owned_context(&self) -> &OwnedContext {
        &self.context
    }
}

/// Answers every request that no endpoint of a table takes: what a proxy passes on.
/// [`Dispatcher::fallback`](crate::Dispatcher::fallback) sets it.
///
/// Each method returns a future that is a task of the runtime, as the handler of an async endpoint is: the server drops
/// it when the caller gives the call up or leaves, when the deadline passes, and when the server stops. A future can
/// wait for an answer that any other task or thread sends, for instance over a [`tokio::sync::oneshot`] channel.
///
/// ```no_run
/// use tachyon::describe::Description;
/// use tachyon::dispatch::{Fallback, FallbackRequest};
/// use tachyon::{AsyncCaller, Dispatcher, HandlerError, RpcServer};
///
/// /// Passes calls on to another callee.
/// struct Upstream(AsyncCaller);
///
/// impl Fallback for Upstream {
///     async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
///         let caller = self.0.on_behalf_of(&request.context());
///         caller.call(request.msg_type(), request.payload()).await.map_err(HandlerError::passed_on)
///     }
///
///     async fn describe(&self, endpoint: Option<u16>) -> Result<Description, HandlerError> {
///         self.0.describe(endpoint).await.map_err(HandlerError::passed_on)
///     }
/// }
///
/// # async fn run() -> Result<(), tachyon::Error> {
/// let mut server = RpcServer::listen("/run/front.sock")?;
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.fallback(Upstream(AsyncCaller::connect("/run/back.sock").await?));
/// dispatcher.serve_async(&mut server).await?;
/// # Ok(())
/// # }
/// ```
pub trait Fallback: Send + Sync + 'static {
    /// Answers a call.
    ///
    /// # Errors
    /// The error that the caller gets, with its text: see [`HandlerError::passed_on`].
    fn call(&self, request: FallbackRequest) -> impl Future<Output = Result<Vec<u8>, HandlerError>> + Send;

    /// Answers a request that opens a stream of any kind. `items` are those of the caller, `sender` sends the items of
    /// the callee. The outcome is the last message: `None` ends a stream of the callee's items, and `Some` is the reply
    /// to a stream of the caller's items alone. By default the stream is refused as if there were no fallback.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    fn open(
        &self,
        request: FallbackRequest,
        items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, HandlerError>> + Send {
        async {
            drop((request, items, sender));
            Err(HandlerError::new(ErrorKind::NoHandler, ""))
        }
    }

    /// Describes one endpoint, or all: with it callers compare their side, and tools list the endpoints. By default
    /// there is none.
    ///
    /// # Errors
    /// The error that the asking side gets.
    fn describe(&self, endpoint: Option<u16>) -> impl Future<Output = Result<Description, HandlerError>> + Send {
        async move {
            let _ = endpoint;
            Ok(Description::new(Vec::new()))
        }
    }

    /// A number that differs whenever [`describe`](Self::describe) does: see
    /// [`CalleeLimits::version`](crate::describe::CalleeLimits::version). By default 0.
    fn version(&self) -> u64 {
        0
    }
}

/// The future of a description.
pub(super) type Describing = Pin<Box<dyn Future<Output = Result<Description, HandlerError>> + Send>>;

/// A [`Fallback`] of any type.
pub(super) struct AnyFallback {
    describe: Box<dyn Fn(Option<u16>) -> Describing + Send + Sync>,
    version: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl AnyFallback {
    /// The fallback, and the functions that start its calls and its streams.
    pub(super) fn new(fallback: impl Fallback) -> (Self, OwnedStartHandler, OwnedStartHandler) {
        let fallback = Arc::new(fallback);
        let of = Arc::clone(&fallback);
        let describe = Box::new(move |endpoint| -> Describing {
            let of = Arc::clone(&of);
            Box::pin(async move { of.describe(endpoint).await })
        });
        let of = Arc::clone(&fallback);
        let version = Box::new(move || of.version());
        let of = Arc::clone(&fallback);
        let call: OwnedStartHandler = Box::new(move |request, context| {
            let (of, request) = (Arc::clone(&of), FallbackRequest::new(request, context));
            Ok(HandlerFuture::new(async move {
                let outcome = of.call(request).await;
                AsyncReply::new(move |reply| reply.bytes(&outcome?))
            }))
        });
        let open: OwnedStartHandler = Box::new(move |request, context| {
            let (items, sender) = (context.items::<Vec<u8>>(), context.sender(ItemEncoding::VALUE));
            let (of, request) = (Arc::clone(&fallback), FallbackRequest::new(request, context));
            Ok(HandlerFuture::new(async move {
                match of.open(request, items, sender).await {
                    Ok(None) => AsyncReply::new(|reply| reply.bytes(&[])),
                    Ok(Some(last)) => AsyncReply::reply_to_stream(move |reply| reply.bytes(&last)),
                    Err(error) => AsyncReply::new(move |_| Err(error)),
                }
            }))
        });
        (Self { describe, version }, call, open)
    }

    pub(super) fn describe(&self, endpoint: Option<u16>) -> Describing {
        (self.describe)(endpoint)
    }

    pub(super) fn version(&self) -> u64 {
        (self.version)()
    }
}

impl fmt::Debug for AnyFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}
