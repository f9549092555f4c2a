//! The forms of a request or a reply.

use super::{HeadLayout, ValueType};

/// The content of a request or a reply, as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Nothing: `()`.
    Empty,
    /// Bytes with a meaning that tachyon does not know: `[u8]`.
    Bytes,
    /// One value, without a head around it.
    Value(&'static ValueType),
    /// Several arguments, or one option: fields of a head without a name.
    Fields(&'static HeadLayout),
    /// Values of the codec msgpack: a map of the arguments, or the value of the reply.
    Msgpack,
}

impl Form {
    /// Whether the form describes the bytes, so that two sides can disagree about it.
    pub const fn is_typed(self) -> bool {
        matches!(self, Self::Value(_) | Self::Fields(_) | Self::Msgpack)
    }
}
