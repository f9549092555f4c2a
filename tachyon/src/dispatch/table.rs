//! The dispatch table: from message type to handler in two loads, however many endpoints there are.

use std::sync::Arc;

use super::endpoint::{Entry, EntryHandler};
use super::error::HandlerError;
#[cfg(feature = "tokio")]
use super::fallback::AnyFallback;
use super::owned_context::OwnedContext;
use super::reply::{HandlerResult, Reply};
use super::request::Request;
use super::state::{SharedState, StateRef};
use super::stream::{OwnedOpenReplies, Replies};
use super::task::{HandlerFuture, OwnedStartHandler};
use crate::dispatch::RegisterError;
use crate::engine::ErrorKind;
use crate::schema::describe::{Description, EndpointDescription, FormDescription, WHOLE_TABLE};
use crate::type_id::MSG_TYPE_ERROR;

/// A handler as a closure, which may own data. The workers of a server share it.
pub type OwnedHandler<S> = Box<dyn Fn(&S, Request<'_>, Reply<'_>) -> HandlerResult + Send + Sync>;

enum Handler<S: ?Sized> {
    Entry(EntryHandler<S>),
    Owned(OwnedHandler<S>),
    Stream(OwnedOpenReplies<S>),
    Async(OwnedStartHandler),
    Thread(OwnedStartHandler),
    #[cfg(feature = "tokio")]
    Fallback(OwnedStartHandler),
}

/// Where the handler of a stream runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamPlace {
    /// On the serving thread, item by item.
    Inline,
    /// On a thread of its own.
    Thread,
    /// As a task of a runtime.
    Task,
}

/// An endpoint in the table.
pub(super) struct Registered<S: ?Sized> {
    /// Boxed, so that the fields that every request reads lie close together.
    description: Box<EndpointDescription>,
    handler: Handler<S>,
    /// Index of the endpoint's counters: the number of endpoints registered before.
    ordinal: usize,
    /// The name again, for contexts that outlive a request.
    name: Arc<str>,
}

impl<S: ?Sized> Registered<S> {
    pub(super) fn name(&self) -> &str {
        &self.description.name
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    fn description(&self) -> &EndpointDescription {
        &self.description
    }

    /// Whether request and reply are bytes or empty, and the endpoint declares no error.
    pub(super) fn is_raw(&self) -> bool {
        // A proxy passes the texts of its callee on.
        #[cfg(feature = "tokio")]
        if matches!(self.handler, Handler::Fallback(_)) {
            return false;
        }
        let raw = |form: &FormDescription| matches!(form, FormDescription::Bytes | FormDescription::Empty);
        self.description.raises.is_empty() && raw(&self.description.request) && raw(&self.description.reply)
    }

    pub(super) fn ordinal(&self) -> usize {
        self.ordinal
    }

    #[inline]
    pub(super) fn run(&self, state: StateRef<'_, S>, request: Request<'_>, reply: Reply<'_>) -> HandlerResult {
        match (&self.handler, state) {
            (Handler::Entry(EntryHandler::Stateless(handler)), _) => handler(&(), request, reply),
            (Handler::Entry(EntryHandler::Exclusive(handler)), StateRef::Exclusive(state)) => {
                handler(state, request, reply)
            }
            // Unreachable: serving with a shared state refuses the table first.
            (Handler::Entry(EntryHandler::Exclusive(_)), StateRef::Shared(_)) => {
                Err(HandlerError::failed("changes the state, which others are using"))
            }
            (Handler::Entry(EntryHandler::Shared(handler)), state) => handler(state.shared(), request, reply),
            (Handler::Owned(handler), state) => handler(state.shared(), request, reply),
            _ => Err(self.refuse_call()),
        }
    }

    #[cold]
    fn refuse_call(&self) -> HandlerError {
        match self.stream_place() {
            Some(_) => HandlerError::new(ErrorKind::BadRequest, "is a stream: open it"),
            // Unreachable: serving without a runtime refuses the table first.
            None => HandlerError::failed("is async, and there is no runtime to run it"),
        }
    }

    /// Whether the caller sends items.
    pub(super) fn takes_items(&self) -> bool {
        self.description.items.is_some()
    }

    /// Whether the replies are items.
    pub(super) fn streams(&self) -> bool {
        self.description.streams
    }

    /// Where the handler of a stream runs; `None` if the endpoint is no stream.
    pub(super) fn stream_place(&self) -> Option<StreamPlace> {
        match &self.handler {
            Handler::Stream(_) | Handler::Entry(EntryHandler::Stream(_)) => Some(StreamPlace::Inline),
            Handler::Thread(_) | Handler::Entry(EntryHandler::Thread(..) | EntryHandler::ThreadStateless(_)) => {
                Some(StreamPlace::Thread)
            }
            _ if self.is_async() && (self.takes_items() || self.streams()) => Some(StreamPlace::Task),
            _ => None,
        }
    }

    /// Opens a stream of replies whose handler runs on the serving thread.
    ///
    /// # Errors
    /// The handler's error.
    #[cold]
    pub(super) fn open(&self, state: StateRef<'_, S>, request: Request<'_>) -> Result<Replies, HandlerError> {
        match &self.handler {
            Handler::Entry(EntryHandler::Stream(handler)) => handler.open(state, request),
            Handler::Stream(handler) => handler(state.shared(), request),
            _ => Err(HandlerError::new(ErrorKind::BadRequest, "is no stream: call it")),
        }
    }

    pub(super) fn is_async(&self) -> bool {
        #[cfg(feature = "tokio")]
        if matches!(self.handler, Handler::Fallback(_)) {
            return true;
        }
        matches!(
            self.handler,
            Handler::Async(_) | Handler::Entry(EntryHandler::Async(..) | EntryHandler::AsyncStateless(_))
        )
    }

    /// Begins a call of a handler that runs outside of the serving thread.
    ///
    /// # Errors
    /// The request is not a value of the endpoint's type.
    pub(super) fn start(
        &self,
        state: Option<&SharedState<S>>,
        request: Request<'_>,
        context: OwnedContext,
    ) -> Result<HandlerFuture, HandlerError> {
        match (&self.handler, state) {
            (Handler::Async(start) | Handler::Thread(start), _) => start(request, context),
            #[cfg(feature = "tokio")]
            (Handler::Fallback(start), _) => start(request, context),
            (Handler::Entry(EntryHandler::AsyncStateless(start) | EntryHandler::ThreadStateless(start)), _) => {
                start(&Arc::new(()), request, context)
            }
            (Handler::Entry(EntryHandler::Async(start, _) | EntryHandler::Thread(start, _)), Some(state)) => {
                start(state.arc(), request, context)
            }
            // Unreachable: a table with such an endpoint shares its state, and the caller asked where the handler runs.
            _ => Err(HandlerError::failed("cannot run outside of the serving thread")),
        }
    }
}

/// The ordinal of a request without an endpoint.
pub(super) const NO_ORDINAL: usize = usize::MAX;

const PAGE: usize = 256;

type Page<S> = Box<[Option<Registered<S>>; PAGE]>;

/// All 65535 message types, in pages. A page exists once one of its message types has an endpoint.
pub(super) struct Table<S: ?Sized> {
    pages: Box<[Option<Page<S>>; PAGE]>,
    len: usize,
    first_async: Option<u16>,
    first_exclusive: Option<u16>,
    #[cfg(feature = "tokio")]
    fallback: Option<Box<FallbackEntries<S>>>,
}

/// The fallback, as the endpoint of every message type without one.
#[cfg(feature = "tokio")]
struct FallbackEntries<S: ?Sized> {
    of: AnyFallback,
    call: Registered<S>,
    open: Registered<S>,
}

impl<S: ?Sized> Table<S> {
    pub(super) fn new() -> Self {
        Self {
            pages: Box::new([const { None }; PAGE]),
            len: 0,
            first_async: None,
            first_exclusive: None,
            #[cfg(feature = "tokio")]
            fallback: None,
        }
    }

    /// Message type and name of an async endpoint, if there is one. The fallback has none of its own.
    #[inline]
    pub(super) fn first_async(&self) -> Option<(u16, &str)> {
        #[cfg(feature = "tokio")]
        if self.fallback.is_some() {
            return Some((MSG_TYPE_ERROR, "fallback"));
        }
        let msg_type = self.first_async?;
        Some((msg_type, self.get(msg_type)?.name()))
    }

    /// Sets the fallback.
    #[cfg(feature = "tokio")]
    pub(super) fn set_fallback(&mut self, (of, call, open): (AnyFallback, OwnedStartHandler, OwnedStartHandler)) {
        let description = EndpointDescription::bytes(MSG_TYPE_ERROR, "");
        let two_way = EndpointDescription { items: Some(FormDescription::Bytes), streams: true, ..description.clone() };
        let registered = |description, start| Registered {
            description: Box::new(description),
            handler: Handler::Fallback(start),
            ordinal: NO_ORDINAL,
            name: Arc::from(""),
        };
        let (call, open) = (registered(description, call), registered(two_way, open));
        self.fallback = Some(Box::new(FallbackEntries { of, call, open }));
    }

    #[cfg(feature = "tokio")]
    pub(super) fn fallback(&self) -> Option<&AnyFallback> {
        self.fallback.as_deref().map(|fallback| &fallback.of)
    }

    /// The endpoint that answers a call, which may be the fallback.
    #[inline]
    pub(super) fn of_call(&self, msg_type: u16) -> Option<&Registered<S>> {
        let found = self.get(msg_type);
        #[cfg(feature = "tokio")]
        let found = found.or_else(|| self.fallback_of(msg_type).map(|fallback| &fallback.call));
        found
    }

    /// The endpoint that answers an OPEN, which may be the fallback.
    pub(super) fn of_open(&self, msg_type: u16) -> Option<&Registered<S>> {
        let found = self.get(msg_type);
        #[cfg(feature = "tokio")]
        let found = found.or_else(|| self.fallback_of(msg_type).map(|fallback| &fallback.open));
        found
    }

    /// The fallback for a message type without an endpoint: for all but the reserved one, which no caller can send on.
    #[cfg(feature = "tokio")]
    fn fallback_of(&self, msg_type: u16) -> Option<&FallbackEntries<S>> {
        self.fallback.as_deref().filter(|_| msg_type != MSG_TYPE_ERROR)
    }

    /// Message type and name of an endpoint that changes the state, if there is one.
    #[inline]
    pub(super) fn first_exclusive(&self) -> Option<(u16, &str)> {
        let msg_type = self.first_exclusive?;
        Some((msg_type, self.get(msg_type)?.name()))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, msg_type: u16) -> Option<&Registered<S>> {
        let [page, index] = msg_type.to_be_bytes();
        self.pages[usize::from(page)].as_ref()?[usize::from(index)].as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Registered<S>)> {
        (0..=u16::MAX).filter_map(|msg_type| Some((msg_type, self.get(msg_type)?)))
    }

    /// The description of all endpoints ([`WHOLE_TABLE`]), or of one.
    pub(super) fn describe(&self, msg_type: u16) -> Description {
        let asked = |(found, _): &(u16, _)| msg_type == WHOLE_TABLE || *found == msg_type;
        Description::new(self.iter().filter(asked).map(|(_, registered)| registered.description().clone()).collect())
    }

    pub(super) fn insert_entry(&mut self, entry: Entry<S>) -> Result<(), RegisterError> {
        self.insert(entry.signature().into(), Handler::Entry(entry.handler()))?;
        if entry.is_async() {
            self.first_async.get_or_insert(entry.msg_type());
        }
        if entry.is_exclusive() {
            self.first_exclusive.get_or_insert(entry.msg_type());
        }
        Ok(())
    }

    pub(super) fn insert_owned(
        &mut self,
        description: EndpointDescription,
        handler: OwnedHandler<S>,
    ) -> Result<(), RegisterError> {
        self.insert(description, Handler::Owned(handler))
    }

    pub(super) fn insert_stream(
        &mut self,
        description: EndpointDescription,
        handler: OwnedOpenReplies<S>,
    ) -> Result<(), RegisterError> {
        self.insert(description, Handler::Stream(handler))
    }

    pub(super) fn insert_thread(
        &mut self,
        description: EndpointDescription,
        handler: OwnedStartHandler,
    ) -> Result<(), RegisterError> {
        self.insert(description, Handler::Thread(handler))
    }

    pub(super) fn insert_async(
        &mut self,
        description: EndpointDescription,
        handler: OwnedStartHandler,
    ) -> Result<(), RegisterError> {
        let msg_type = description.msg_type;
        self.insert(description, Handler::Async(handler))?;
        self.first_async.get_or_insert(msg_type);
        Ok(())
    }

    fn insert(&mut self, description: EndpointDescription, handler: Handler<S>) -> Result<(), RegisterError> {
        let EndpointDescription { msg_type, ref name, .. } = description;
        if msg_type == MSG_TYPE_ERROR {
            return Err(RegisterError::Reserved { refused: name.to_owned() });
        }
        let [page, index] = msg_type.to_be_bytes();
        let page = self.pages[usize::from(page)].get_or_insert_with(|| Box::new([const { None }; PAGE]));
        let slot = &mut page[usize::from(index)];
        if let Some(existing) = slot {
            return Err(RegisterError::Duplicate {
                msg_type,
                existing: existing.name().to_owned(),
                refused: name.to_owned(),
            });
        }
        let name = Arc::from(name.as_str());
        *slot = Some(Registered { description: Box::new(description), handler, ordinal: self.len, name });
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> OwnedHandler<()> {
        Box::new(|(), _, _| Err(HandlerError::failed("never called")))
    }

    #[test]
    fn every_message_type_but_the_reserved_one_finds_its_endpoint() {
        let mut table = Table::<()>::new();
        for msg_type in [0, 1, 255, 256, 4097, 65_534] {
            table.insert_owned(EndpointDescription::bytes(msg_type, &format!("e{msg_type}")), never()).unwrap();
        }
        assert_eq!(table.len(), 6);
        assert_eq!(table.get(4097).unwrap().name(), "e4097");
        assert!(table.get(2).is_none());
        assert!(table.get(65_535).is_none());
        assert_eq!(table.iter().map(|(msg_type, _)| msg_type).collect::<Vec<_>>(), [0, 1, 255, 256, 4097, 65_534]);
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn a_fallback_takes_every_message_type_but_the_reserved_one_and_those_of_endpoints() {
        struct Refusing;
        impl crate::dispatch::Fallback for Refusing {
            async fn call(&self, _: crate::dispatch::FallbackRequest) -> Result<Vec<u8>, HandlerError> {
                Err(HandlerError::failed("never called"))
            }
        }
        let mut table = Table::<()>::new();
        table.insert_owned(EndpointDescription::bytes(7, "own"), never()).unwrap();
        table.set_fallback(AnyFallback::new(Refusing));
        for of in [Table::of_call, Table::of_open] {
            assert_eq!(of(&table, 7).unwrap().name(), "own");
            assert_eq!(of(&table, 8).unwrap().name(), "");
            assert!(of(&table, MSG_TYPE_ERROR).is_none());
        }
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_refusal_leaves_the_table_unchanged() {
        let mut table = Table::<()>::new();
        table.insert_owned(EndpointDescription::bytes(7, "first"), never()).unwrap();
        assert_eq!(
            table.insert_owned(EndpointDescription::bytes(7, "second"), never()),
            Err(RegisterError::Duplicate { msg_type: 7, existing: "first".into(), refused: "second".into() })
        );
        assert_eq!(
            table.insert_owned(EndpointDescription::bytes(MSG_TYPE_ERROR, "third"), never()),
            Err(RegisterError::Reserved { refused: "third".into() })
        );
        assert_eq!(table.len(), 1);
        assert_eq!(table.get(7).unwrap().name(), "first");
    }
}
