//! Why bytes are not a value of a type.
#![allow(clippy::unnecessary_box_returns, reason = "as `Refused` says")]

use thiserror::Error;

use super::layout::{Layout, Primitive};

/// Bytes that a peer sent and that are not a value of the type they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// There should have been none.
    #[error("{found} bytes came where none are expected")]
    NotEmpty {
        /// Bytes received.
        found: usize,
    },
    /// Too few or too many for one value.
    #[error("{found} bytes came, and {name} has {expected}")]
    Length {
        /// The type.
        name: String,
        /// Its size in bytes.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// Not a whole number of values.
    #[error("{found} bytes came, which is no multiple of the {each} of {name}")]
    Remainder {
        /// The type of each value.
        name: String,
        /// Its size in bytes.
        each: usize,
        /// Bytes received.
        found: usize,
    },
    /// A `bool` or an enum that has no such value.
    #[error("{place} is {found}, and {name} has no such value")]
    Value {
        /// The field, with the way to it.
        place: String,
        /// The number received.
        found: i128,
        /// The field's type.
        name: String,
    },
    /// A head that says it is longer than what came, or shorter than its own length.
    #[error("the head of {name} is {said} bytes by its own word, and {found} came")]
    Head {
        /// The payload or the endpoint that it belongs to.
        name: String,
        /// The length that the head says.
        said: usize,
        /// Bytes received.
        found: usize,
    },
    /// A field or an argument that the sender does not know, and that is not optional here.
    #[error("{place} is missing; if the other side may leave it out, make it optional")]
    Missing {
        /// The field or argument.
        place: String,
    },
    /// A head that ends inside of a field.
    #[error("{place} is cut: the sender's fields are others than those here")]
    Cut {
        /// The field or argument.
        place: String,
    },
    /// A part that is not inside of the message, behind the part before it and at a multiple of 8.
    #[error("{place} should be the {len} bytes at {offset} of {found}, and there is no part")]
    Part {
        /// The field, argument or list that it belongs to.
        place: String,
        /// Where it should begin.
        offset: usize,
        /// How long it should be.
        len: usize,
        /// Length of what it should lie in.
        found: usize,
    },
    /// Text that is no UTF-8.
    #[error("{place} is no UTF-8 from byte {at} on")]
    Text {
        /// The field or argument.
        place: String,
        /// The first byte that is wrong.
        at: usize,
    },
    /// A list that is shorter than its own count.
    #[error("{place} is a list of {count} by its own word, and has {found} bytes")]
    Count {
        /// The field or argument.
        place: String,
        /// The count that the list says.
        count: usize,
        /// Bytes received.
        found: usize,
    },
    /// Bytes of this process at an address that is no multiple of the type's alignment.
    #[error("the bytes are not aligned for their type; copy them to an address that is a multiple of 8")]
    Misaligned,
    /// A problem of a value inside of another one.
    #[error("{place}: {problem}")]
    In {
        /// The field or argument that has the value.
        place: String,
        /// What is wrong with the value.
        problem: Box<Malformed>,
    },
}

/// As readers return it: one word, so that what they usually return stays small.
pub type Refused = Box<Malformed>;

impl From<Refused> for Malformed {
    fn from(refused: Refused) -> Self {
        *refused
    }
}

impl Malformed {
    /// The same, of the value at `place`.
    #[cold]
    #[inline(never)]
    pub(crate) fn at(self: Box<Self>, place: &str) -> Box<Self> {
        Box::new(Self::In { place: place.to_owned(), problem: self })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn head(name: &str, said: usize, found: usize) -> Box<Self> {
        Box::new(Self::Head { name: name.to_owned(), said, found })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn missing(place: &str) -> Box<Self> {
        Box::new(Self::Missing { place: place.to_owned() })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn cut(place: &str) -> Box<Self> {
        Box::new(Self::Cut { place: place.to_owned() })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn part(place: &str, offset: usize, len: usize, found: usize) -> Box<Self> {
        Box::new(Self::Part { place: place.to_owned(), offset, len, found })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn text(place: &str, at: usize) -> Box<Self> {
        Box::new(Self::Text { place: place.to_owned(), at })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn count(place: &str, count: usize, found: usize) -> Box<Self> {
        Box::new(Self::Count { place: place.to_owned(), count, found })
    }
}

/// Says what is wrong with `bytes`, which are as long as the type and not a value of it.
#[cold]
pub(super) fn invalid(layout: &Layout, bytes: &[u8]) -> Box<Malformed> {
    Box::new(find(layout, bytes, &layout.name()).unwrap_or_else(|| {
        // Only a peer that writes while we read gets here: what was wrong is already gone.
        Malformed::Value { place: layout.name(), found: 0, name: layout.name() }
    }))
}

/// The first place in `bytes` that has no value.
fn find(layout: &Layout, bytes: &[u8], place: &str) -> Option<Malformed> {
    let wrong = |found| Some(Malformed::Value { place: place.to_owned(), found, name: layout.name() });
    match layout {
        Layout::Primitive(Primitive::Bool) => {
            let found = Primitive::U8.integer(bytes);
            if found > 1 { wrong(found) } else { None }
        }
        Layout::Primitive(_) => None,
        Layout::Enum(layout) => {
            let found = layout.repr.integer(bytes);
            if layout.variants.iter().any(|variant| variant.value == found) { None } else { wrong(found) }
        }
        Layout::Array { of, .. } => {
            let each = bytes.chunks_exact(of.size().max(1)).enumerate();
            each.into_iter().find_map(|(at, bytes)| find(of, bytes, &format!("{place}[{at}]")))
        }
        Layout::Struct(layout) => layout.fields.iter().find_map(|field| {
            let bytes = bytes.get(field.offset..field.offset + field.layout.size())?;
            find(field.layout, bytes, &format!("{place}.{}", field.name))
        }),
    }
}
