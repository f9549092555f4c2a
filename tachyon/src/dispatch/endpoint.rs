//! Endpoints: a message type, a name and a function from request to reply.

use super::reply::{HandlerResult, Reply};
use super::request::Request;
use super::scope::Scope;
use super::state::ShareOwn;
use super::stream::StreamHandler;
use super::task::StartHandler;
use crate::rpc::Contract;
use crate::schema::describe::{EndpointKind, Signature};
use crate::schema::payload::{DeclaredError, Form, Message};

/// A function that other processes can call. `#[tachyon_rpc]` implements the trait on a type of the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not an endpoint",
    note = "`#[tachyon_rpc(msg_type = N)]` makes an endpoint of a function"
)]
pub trait Endpoint {
    /// The state that the dispatcher passes to the handler with every call; `()` for a handler without state.
    type State: ?Sized;
    /// The tables that may list the endpoint: [`Stateless`](crate::dispatch::Stateless) tables of any state,
    /// [`Requires<S>`](crate::dispatch::Requires) tables of `S`.
    type Scope: Scope<State = Self::State>;
    /// The type of the reply, owned.
    type Reply: Message;
    /// The declared error; [`Undeclared`](crate::payload::Undeclared) without one.
    type Error: DeclaredError;
    /// The message type of requests, 0 to 65534.
    const MSG_TYPE: u16;
    /// The function's name.
    const NAME: &'static str;
    /// The function's doc comment.
    const DOC: &'static str;
    /// Number, name, documentation and types, to compare with those of the other side.
    const SIGNATURE: &'static Signature;
    /// The endpoint's entry in the table of a [`Dispatcher`](crate::Dispatcher).
    const ENTRY: Entry<Self::State>;
}

impl<E: Endpoint> Contract for E {
    type Reply = E::Reply;
    type Error = E::Error;
    const SIGNATURE: &'static Signature = E::SIGNATURE;
}

/// A handler that reads the state, and may run beside others.
pub type SharedHandler<S> = for<'a> fn(&'a S, Request<'a>, Reply<'a>) -> HandlerResult;

/// A handler that changes the state, and runs alone.
pub type ExclusiveHandler<S> = for<'a> fn(&'a mut S, Request<'a>, Reply<'a>) -> HandlerResult;

/// The function of an [`Entry`], by its access to the state.
#[derive(Debug)]
pub enum EntryHandler<S: ?Sized> {
    /// No access: the handler fits a table of any state.
    Stateless(SharedHandler<()>),
    /// Reads the state.
    Shared(SharedHandler<S>),
    /// Changes the state.
    Exclusive(ExclusiveHandler<S>),
    /// Answers with a stream of items.
    Stream(StreamHandler<S>),
    /// Awaits, without access.
    AsyncStateless(StartHandler<()>),
    /// Awaits, and reads the state, which the tasks of its calls share.
    Async(StartHandler<S>, ShareOwn<S>),
    /// Takes items or has a sender, and runs on a thread of its own, without access. The future of its start blocks.
    ThreadStateless(StartHandler<()>),
    /// As `ThreadStateless`, and reads the state, which the threads of its streams share.
    Thread(StartHandler<S>, ShareOwn<S>),
}

/// An endpoint in a dispatch table, as a constant.
#[derive(Debug)]
pub struct Entry<S: ?Sized> {
    signature: Signature,
    handler: EntryHandler<S>,
}

impl<S: ?Sized> Entry<S> {
    /// An entry that another one replaces.
    pub(crate) const VACANT: Self = Self {
        signature: Signature::of(0, "", "", Form::Empty, Form::Empty, &[]),
        handler: EntryHandler::Stateless(|(), _, _| unreachable!("replaced before a table is finished")),
    };

    /// An entry from bytes to bytes whose handler reads the state.
    pub const fn shared(msg_type: u16, name: &'static str, doc: &'static str, handler: SharedHandler<S>) -> Self {
        let signature = Signature::of(msg_type, name, doc, Form::Bytes, Form::Bytes, &[]);
        Self { signature, handler: EntryHandler::Shared(handler) }
    }

    /// An entry with the given signature.
    ///
    /// # Panics
    /// When the handler does not answer as the signature says: with a reply, or with a stream.
    pub const fn new(signature: &Signature, handler: EntryHandler<S>) -> Self {
        let kind = signature.kind();
        match handler {
            EntryHandler::Stateless(_) | EntryHandler::Shared(_) | EntryHandler::Exclusive(_) => {
                assert!(!kind.is_stream(), "the signature is that of a stream, and the handler sends one reply");
            }
            EntryHandler::Stream(_) => assert!(
                matches!(kind, EndpointKind::ServerStream),
                "the handler answers with a stream of items, and the signature is not that of a server stream"
            ),
            EntryHandler::ThreadStateless(_) | EntryHandler::Thread(..) => {
                assert!(kind.is_stream(), "the handler runs on a thread of its own, and the signature is of no stream");
            }
            EntryHandler::AsyncStateless(_) | EntryHandler::Async(..) => {}
        }
        Self { signature: *signature, handler }
    }

    /// The message type of requests.
    pub const fn msg_type(&self) -> u16 {
        self.signature.msg_type()
    }

    /// The endpoint's name.
    pub const fn name(&self) -> &'static str {
        self.signature.name()
    }

    /// The endpoint's documentation.
    pub const fn doc(&self) -> &'static str {
        self.signature.doc()
    }

    /// Number, name, documentation, and the types of request, reply and errors.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether the handler changes the state. Several threads cannot serve such an entry at the same time.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.handler, EntryHandler::Exclusive(_) | EntryHandler::Stream(StreamHandler::Exclusive(_)))
    }

    /// Whether a call opens a stream.
    pub const fn is_stream(&self) -> bool {
        self.signature.kind().is_stream()
    }

    /// Whether the handler awaits. Only [`serve_async`](crate::Dispatcher::serve_async) serves such an entry.
    pub const fn is_async(&self) -> bool {
        matches!(self.handler, EntryHandler::Async(..) | EntryHandler::AsyncStateless(_))
    }

    /// The handler.
    pub const fn handler(&self) -> EntryHandler<S> {
        self.handler
    }
}

impl Entry<()> {
    /// The same entry for a table of any state.
    ///
    /// # Panics
    /// When the handler changes the state `()`; no function with `#[tachyon_rpc]` does.
    pub const fn lift<S: ?Sized>(self) -> Entry<S> {
        let handler = match self.handler {
            EntryHandler::Stateless(handler) | EntryHandler::Shared(handler) => EntryHandler::Stateless(handler),
            EntryHandler::AsyncStateless(start) | EntryHandler::Async(start, _) => EntryHandler::AsyncStateless(start),
            EntryHandler::Stream(StreamHandler::Stateless(open) | StreamHandler::Shared(open)) => {
                EntryHandler::Stream(StreamHandler::Stateless(open))
            }
            EntryHandler::ThreadStateless(start) | EntryHandler::Thread(start, _) => {
                EntryHandler::ThreadStateless(start)
            }
            EntryHandler::Exclusive(_) | EntryHandler::Stream(StreamHandler::Exclusive(_)) => {
                panic!("an exclusive handler belongs to the state it changes")
            }
        };
        Entry { signature: self.signature, handler }
    }
}

// Not derived: a derive would require `S: Clone`, and an entry holds no state.
impl<S: ?Sized> Clone for EntryHandler<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for EntryHandler<S> {}

impl<S: ?Sized> Clone for Entry<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for Entry<S> {}
