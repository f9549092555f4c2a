//! What an endpoint is: a message type, a name and a function from request to reply.

use super::handler::{HandlerError, Replied, Reply, Request};
use super::scope::Scope;
use crate::rpc::Contract;
use crate::schema::describe::Signature;
use crate::schema::payload::{DeclaredError, Form, Message};

/// A function made callable from another process; `#[tachyon_rpc]` implements it on a type of the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not an endpoint",
    note = "`#[tachyon_rpc(msg_type = N)]` makes an endpoint of a function"
)]
pub trait Endpoint {
    /// What the dispatcher keeps for the handler and lends it with every call; `()` when it takes none.
    type State: ?Sized;
    /// Which tables may list it: [`NoState`](crate::dispatch::NoState) those of any state, [`Needs<S>`](crate::dispatch::Needs) those of
    /// `S`.
    type Scope: Scope<State = Self::State>;
    /// What it returns, owned.
    type Reply: Message;
    /// The error that it declares; [`Undeclared`](crate::schema::payload::Undeclared) if it declares none.
    type Error: DeclaredError;
    /// The number that requests name the endpoint by, 0 to 65534.
    const MSG_TYPE: u16;
    /// The function's name.
    const NAME: &'static str;
    /// The function's doc comment.
    const DOC: &'static str;
    /// All of the above, to compare with what the other side means.
    const SIGNATURE: &'static Signature;
    /// What goes into the table of a [`Dispatcher`](crate::Dispatcher).
    const ENTRY: Entry<Self::State>;
}

impl<E: Endpoint> Contract for E {
    type Reply = E::Reply;
    type Error = E::Error;
    const SIGNATURE: &'static Signature = E::SIGNATURE;
}

/// A handler that may run beside others, since it only reads the state.
pub type SharedHandler<S> = for<'a> fn(&'a S, Request<'a>, Reply<'a>) -> Result<Replied, HandlerError>;

/// A handler that changes the state, so it runs alone.
pub type ExclusiveHandler<S> = for<'a> fn(&'a mut S, Request<'a>, Reply<'a>) -> Result<Replied, HandlerError>;

/// The function of an [`Entry`], by what it may do with the state.
#[derive(Debug)]
pub enum EntryHandler<S: ?Sized> {
    /// It takes no state, whatever the table's is.
    Stateless(SharedHandler<()>),
    /// It reads the state.
    Shared(SharedHandler<S>),
    /// It changes the state.
    Exclusive(ExclusiveHandler<S>),
}

/// One line of a dispatch table, as a constant.
#[derive(Debug)]
pub struct Entry<S: ?Sized> {
    signature: Signature,
    handler: EntryHandler<S>,
}

impl<S: ?Sized> Entry<S> {
    /// An entry of bytes to bytes whose handler only reads the state.
    pub const fn shared(msg_type: u16, name: &'static str, doc: &'static str, handler: SharedHandler<S>) -> Self {
        let signature = Signature::of(msg_type, name, doc, Form::Bytes, Form::Bytes, &[]);
        Self { signature, handler: EntryHandler::Shared(handler) }
    }

    /// An entry of a signature.
    pub const fn new(signature: &Signature, handler: EntryHandler<S>) -> Self {
        Self { signature: *signature, handler }
    }

    /// The number that requests name the endpoint by.
    pub const fn msg_type(&self) -> u16 {
        self.signature.msg_type()
    }

    /// The endpoint's name.
    pub const fn name(&self) -> &'static str {
        self.signature.name()
    }

    /// The endpoint's description.
    pub const fn doc(&self) -> &'static str {
        self.signature.doc()
    }

    /// Number, name, documentation, and what the endpoint takes and gives.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether the handler changes the state. Such an entry cannot be served by several threads at once.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.handler, EntryHandler::Exclusive(_))
    }

    /// The function to call.
    pub const fn handler(&self) -> EntryHandler<S> {
        self.handler
    }
}

impl Entry<()> {
    /// The same entry for a table of any state.
    ///
    /// # Panics
    /// When the handler changes the state `()`, which no function made by `#[tachyon_rpc]` does.
    pub const fn lift<S: ?Sized>(self) -> Entry<S> {
        let handler = match self.handler {
            EntryHandler::Stateless(handler) | EntryHandler::Shared(handler) => EntryHandler::Stateless(handler),
            EntryHandler::Exclusive(_) => panic!("an exclusive handler belongs to the state it changes"),
        };
        Entry { signature: self.signature, handler }
    }
}

// Not derived: that would ask the same of the state, which an entry does not hold.
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
