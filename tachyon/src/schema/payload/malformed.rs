//! The error of bytes that are not a value of a type.
#![allow(clippy::unnecessary_box_returns, reason = "`BoxedMalformed` is a box")]

use thiserror::Error;

use super::layout::{Layout, Primitive};

/// Bytes from a peer that are not a value of the expected type.
///
/// The text names the field or argument. Two correct peers with the same contract never meet this error.
///
/// ```
/// use tachyon::payload::Value;
///
/// let error = <Vec<u32>>::from_bytes(&[1, 2, 3]).unwrap_err();
/// assert_eq!(error.to_string(), "the message: 3 bytes came, which is no multiple of the 4 bytes of u32");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Bytes for `()`, which has none.
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
    #[error("{found} bytes came, which is no multiple of the {each} bytes of {name}")]
    Remainder {
        /// The type of each value.
        name: String,
        /// Its size in bytes.
        each: usize,
        /// Bytes received.
        found: usize,
    },
    /// A number that is no value of its `bool` or enum.
    #[error("{place} is {found}, and {name} has no such value")]
    Value {
        /// The path of the field.
        place: String,
        /// The number received.
        found: i128,
        /// The field's type.
        name: String,
    },
    /// A length of a head that exceeds the bytes received, or is less than 4.
    #[error("the head of {name} gives its length as {said} bytes, and {found} came")]
    Head {
        /// The payload or the endpoint of the head.
        name: String,
        /// The length in the head.
        said: usize,
        /// Bytes received.
        found: usize,
    },
    /// A field or an argument that the sender does not know, and that is not optional on this side.
    #[error("{place} is missing; if the other side may leave it out, make it optional")]
    Missing {
        /// The field or argument.
        place: String,
    },
    /// A head that ends inside of a field.
    #[error("{place} is cut: the head ends inside of it; declare the same fields on both sides")]
    Cut {
        /// The field or argument.
        place: String,
    },
    /// A pair that names no part: a part begins at a multiple of 8 behind the previous part, and ends in the message.
    #[error("{place} points to {len} bytes at offset {offset} of {found}, and there is no part")]
    Part {
        /// The field, argument or list of the pair.
        place: String,
        /// The offset in the pair, in bytes.
        offset: usize,
        /// The length in the pair, in bytes.
        len: usize,
        /// Length of the message or part around it, in bytes.
        found: usize,
    },
    /// Text that is not UTF-8.
    #[error("{place} is no UTF-8 from byte {at} on")]
    Text {
        /// The field or argument.
        place: String,
        /// The index of the first wrong byte.
        at: usize,
    },
    /// A list that is too short for its count.
    #[error("{place} gives its length as {count} values, and has {found} bytes")]
    Count {
        /// The field or argument.
        place: String,
        /// The count in the list.
        count: usize,
        /// Bytes received.
        found: usize,
    },
    /// Too few bytes for the shape of a tensor.
    #[error("{place} has {found} bytes, and its shape of {ndim} dimensions has more")]
    Tensor {
        /// The field or argument.
        place: String,
        /// The number of dimensions of its type.
        ndim: usize,
        /// Bytes received.
        found: usize,
    },
    /// A tensor with another number of dimensions.
    #[error("the number of dimensions of {place} is {expected}, and {found} came")]
    Dimensions {
        /// The field or argument.
        place: String,
        /// The number of dimensions of its type.
        expected: usize,
        /// The number received.
        found: usize,
    },
    /// Values of a tensor that are not as long as its shape says.
    #[error("{place} gives its shape as {shape:?} of {name}, and {found} bytes of values came")]
    Shape {
        /// The field or argument.
        place: String,
        /// The shape received.
        shape: Vec<usize>,
        /// The type of the values.
        name: String,
        /// Bytes of values received.
        found: usize,
    },
    /// A value that its codec cannot read.
    #[error("{place}: {text}")]
    Codec {
        /// The message or argument.
        place: String,
        /// The error of the codec.
        text: String,
    },
    /// Bytes of this process at an address that is not aligned for the type.
    #[error("the bytes are not aligned for their type; copy them to an address that is a multiple of 8")]
    Misaligned,
    /// A malformed value inside of another value.
    #[error("{place}: {problem}")]
    In {
        /// The field or argument that holds the value.
        place: String,
        /// The problem of the value.
        problem: Box<Malformed>,
    },
}

/// The error of readers. The box is one word, so a `Result` of a small value stays small.
pub type BoxedMalformed = Box<Malformed>;

impl From<BoxedMalformed> for Malformed {
    fn from(boxed: BoxedMalformed) -> Self {
        *boxed
    }
}

impl Malformed {
    /// This problem, as one of the value at `place`.
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
    pub(crate) fn tensor(place: &str, ndim: usize, found: usize) -> Box<Self> {
        Box::new(Self::Tensor { place: place.to_owned(), ndim, found })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn ndim(place: &str, expected: usize, found: usize) -> Box<Self> {
        Box::new(Self::Dimensions { place: place.to_owned(), expected, found })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn shape(place: &str, shape: &[usize], of: Primitive, found: usize) -> Box<Self> {
        let (place, name) = (place.to_owned(), of.name().to_owned());
        Box::new(Self::Shape { place, shape: shape.to_vec(), name, found })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn codec(place: &str, text: String) -> Box<Self> {
        Box::new(Self::Codec { place: place.to_owned(), text })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn count(place: &str, count: usize, found: usize) -> Box<Self> {
        Box::new(Self::Count { place: place.to_owned(), count, found })
    }
}

/// The problem of `bytes`, which are as long as the type and not a value of it.
#[cold]
pub(super) fn invalid(layout: &Layout, bytes: &[u8]) -> Box<Malformed> {
    Box::new(find(layout, bytes, &layout.name()).unwrap_or_else(|| {
        // Reached only if a peer writes meanwhile: the wrong value is gone.
        Malformed::Value { place: layout.name(), found: 0, name: layout.name() }
    }))
}

/// The first wrong value in `bytes`.
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
