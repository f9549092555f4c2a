//! The forms a request or a reply can take.

use super::{HeadLayout, ValueType};

/// What a request or a reply consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Nothing: `()`.
    Empty,
    /// Bytes that mean what the two sides agree on: `[u8]`.
    Bytes,
    /// One value as itself.
    Value(&'static ValueType),
    /// Several values, as the fields of a head without a name.
    Fields(&'static HeadLayout),
}

impl Form {
    /// Whether the form says what the bytes mean, so that two sides can disagree about it.
    pub const fn is_typed(self) -> bool {
        matches!(self, Self::Value(_) | Self::Fields(_))
    }
}
