//! What an endpoint says about itself, as a constant.

use crate::payload::{Form, Wire};

/// An endpoint's number, name, documentation, and what it takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    msg_type: u16,
    name: &'static str,
    doc: &'static str,
    request: Form,
    reply: Form,
}

impl Signature {
    /// The signature of an endpoint that takes a `Q` and gives an `R`.
    pub const fn new<Q: Wire + ?Sized, R: Wire + ?Sized>(msg_type: u16, name: &'static str, doc: &'static str) -> Self {
        Self { msg_type, name, doc, request: Q::FORM, reply: R::FORM }
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

    /// What it takes.
    pub const fn request(&self) -> Form {
        self.request
    }

    /// What it gives.
    pub const fn reply(&self) -> Form {
        self.reply
    }

    /// Whether two sides can disagree about what travels.
    pub(crate) const fn is_typed(&self) -> bool {
        self.request.is_typed() || self.reply.is_typed()
    }
}
