//! What an endpoint says about itself, as a constant.

use crate::schema::payload::{Form, HeadLayout};

/// An endpoint's number, name, documentation, and what it takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    msg_type: u16,
    name: &'static str,
    doc: &'static str,
    request: Form,
    reply: Form,
    raises: &'static [HeadLayout],
}

impl Signature {
    /// The signature of an endpoint by the forms of what it takes and gives, and the errors that it declares.
    pub const fn of(
        msg_type: u16,
        name: &'static str,
        doc: &'static str,
        request: Form,
        reply: Form,
        raises: &'static [HeadLayout],
    ) -> Self {
        Self { msg_type, name, doc, request, reply, raises }
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

    /// The errors that it declares, by name and fields.
    pub const fn raises(&self) -> &'static [HeadLayout] {
        self.raises
    }

    /// Whether two sides can disagree about what travels.
    pub(crate) const fn is_typed(&self) -> bool {
        self.request.is_typed() || self.reply.is_typed() || !self.raises.is_empty()
    }
}
