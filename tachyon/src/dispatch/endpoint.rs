//! What an endpoint is: a message type, a name and a function from request to reply.

use super::handler::{HandlerError, Replied, Reply, Request};

/// A function made callable from another process; `#[tachyon_rpc]` implements it on a type of the function's name.
pub trait Endpoint {
    /// What the dispatcher keeps for the handler and lends it with every call.
    type State: ?Sized;
    /// The number that requests name the endpoint by, 0 to 65534.
    const MSG_TYPE: u16;
    /// The function's name.
    const NAME: &'static str;
    /// The function's doc comment.
    const DOC: &'static str;
    /// What goes into the table of a [`Dispatcher`](crate::Dispatcher).
    const ENTRY: Entry<Self::State>;
}

/// A handler that may run beside others, since it only reads the state.
pub type SharedHandler<S> = for<'a> fn(&'a S, Request<'a>, Reply<'a>) -> Result<Replied, HandlerError>;

/// One line of a dispatch table, as a constant.
#[derive(Debug)]
pub struct Entry<S: ?Sized> {
    msg_type: u16,
    name: &'static str,
    doc: &'static str,
    handler: SharedHandler<S>,
}

impl<S: ?Sized> Entry<S> {
    /// An entry whose handler only reads the state.
    pub const fn shared(msg_type: u16, name: &'static str, doc: &'static str, handler: SharedHandler<S>) -> Self {
        Self { msg_type, name, doc, handler }
    }

    /// The number that requests name the endpoint by.
    pub const fn msg_type(&self) -> u16 {
        self.msg_type
    }

    /// The endpoint's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The endpoint's description.
    pub const fn doc(&self) -> &'static str {
        self.doc
    }

    pub(super) const fn handler(&self) -> SharedHandler<S> {
        self.handler
    }
}

// Not derived: that would ask the same of the state, which an entry does not hold.
impl<S: ?Sized> Clone for Entry<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for Entry<S> {}
