//! Why bytes are not a value of a type.

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
}

/// Says what is wrong with `bytes`, which are as long as the type and not a value of it.
#[cold]
pub(super) fn invalid(layout: &Layout, bytes: &[u8]) -> Malformed {
    find(layout, bytes, &layout.name()).unwrap_or_else(|| {
        // Only a peer that writes while we read gets here: what was wrong is already gone.
        Malformed::Value { place: layout.name(), found: 0, name: layout.name() }
    })
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
