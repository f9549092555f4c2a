//! The fallback of a dispatcher, which answers the requests that no endpoint of the table takes: the base of a proxy.

use core::fmt;
use core::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::HandlerError;
use super::items::{Items, StreamSender};
use super::layer::Context;
use super::owned_context::OwnedContext;
use super::reply::AsyncReply;
use super::request::Request;
use super::task::{HandlerFuture, OwnedStartHandler};
use crate::engine::ErrorKind;
use crate::schema::describe::{CalleeLimits, Description, EndpointDescription, Query, WHOLE_TABLE, fits_chunk};
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

/// Answers every request that no endpoint of a table takes, as a proxy does.
/// [`Dispatcher::fallback`](crate::Dispatcher::fallback) sets it, and the example `proxy` passes streams on as well.
///
/// Each method returns a future that is a task of the runtime, as the handler of an async endpoint is: the server drops
/// it when the caller gives the call up or leaves, when the deadline passes, and when the server stops. Descriptions
/// count as calls in flight. A future can wait for an answer that any other task or thread sends, for instance over a
/// [`tokio::sync::oneshot`] channel. A panic of a method becomes an error reply.
///
/// ```
/// use tachyon::describe::Description;
/// use tachyon::dispatch::{Fallback, FallbackRequest};
/// use tachyon::{AsyncCaller, Dispatcher, HandlerError, endpoints, tachyon_rpc, testing};
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
/// #[tachyon_rpc(msg_type = 1)]
/// fn double(number: u32) -> u32 {
///     number * 2
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let upstream = testing::pair_async(Dispatcher::new(endpoints![double]))?;
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.fallback(Upstream(upstream));
/// let caller = testing::pair_async(dispatcher)?;
/// assert_eq!(double::call_async(&caller, 21).await?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
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

    /// Describes one endpoint, or all: with it callers compare their side, and tools list the endpoints. An endpoint of
    /// the table hides one of the same number here. By default there is none.
    ///
    /// # Errors
    /// The error that the asking side gets.
    fn describe(&self, endpoint: Option<u16>) -> impl Future<Output = Result<Description, HandlerError>> + Send {
        async move {
            let _ = endpoint;
            Ok(Description::new(Vec::new()))
        }
    }

    /// A number that differs whenever the description of all endpoints does: see
    /// [`CalleeLimits::version`](crate::describe::CalleeLimits::version). By default a hash of the description, which
    /// is asked for each time: a fallback that has the number sooner returns it here.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    fn version(&self) -> impl Future<Output = Result<u64, HandlerError>> + Send {
        async { self.describe(None).await.map(|description| CalleeLimits::version_of(&description.to_json())) }
    }
}

/// The future of an answer of the fallback.
pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, HandlerError>> + Send>>;

/// A description in JSON that has several chunks, and the message type of its query.
type Long = (u16, Arc<str>);

/// A [`Fallback`] of any type.
pub(super) struct AnyFallback {
    describe: Box<dyn Fn(Option<u16>) -> Answer<Description> + Send + Sync>,
    version: Box<dyn Fn() -> Answer<u64> + Send + Sync>,
    /// The description whose first chunk was asked for last: the fallback is not asked for each chunk.
    last_long: Arc<Mutex<Option<Long>>>,
}

impl AnyFallback {
    /// The fallback, and the functions that start its calls and its streams.
    pub(super) fn new(fallback: impl Fallback) -> (Self, OwnedStartHandler, OwnedStartHandler) {
        let fallback = Arc::new(fallback);
        let of = Arc::clone(&fallback);
        let describe = Box::new(move |endpoint| -> Answer<Description> {
            let of = Arc::clone(&of);
            Box::pin(async move { of.describe(endpoint).await })
        });
        let of = Arc::clone(&fallback);
        let version = Box::new(move || -> Answer<u64> {
            let of = Arc::clone(&of);
            Box::pin(async move { of.version().await })
        });
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
        (Self { describe, version, last_long: Arc::default() }, call, open)
    }

    /// The description that a query asks for, in JSON. `own` are the endpoints of the table that belong to it, in the
    /// order of their numbers; `max_len` is the longest reply.
    pub(super) fn describe(&self, query: Query, own: Vec<EndpointDescription>, max_len: usize) -> Answer<Arc<str>> {
        let last_long = Arc::clone(&self.last_long);
        // Ignore poisoning: one value is always consistent.
        let kept = |last: &Mutex<Option<Long>>| last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if query.offset > 0
            && let Some((_, json)) = kept(&last_long).filter(|(of, _)| *of == query.msg_type)
        {
            return Box::pin(async { Ok(json) });
        }
        let is_whole = query.msg_type == WHOLE_TABLE;
        let describing = (self.describe)((!is_whole).then_some(query.msg_type));
        Box::pin(async move {
            let mut found = describing.await?.endpoints;
            found.retain(|found| {
                (is_whole || found.msg_type == query.msg_type)
                    && own.binary_search_by_key(&found.msg_type, |own| own.msg_type).is_err()
            });
            found.extend(own);
            found.sort_by_key(|endpoint| endpoint.msg_type);
            let json: Arc<str> = Description::new(found).to_json().into();
            if !fits_chunk(json.len(), max_len) {
                *last_long.lock().unwrap_or_else(PoisonError::into_inner) = Some((query.msg_type, Arc::clone(&json)));
            }
            Ok(json)
        })
    }

    pub(super) fn version(&self) -> Answer<u64> {
        (self.version)()
    }
}

impl fmt::Debug for AnyFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}
