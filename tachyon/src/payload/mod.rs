//! Types that travel: how their values lie in a message, and how they are described.

mod argument;
mod declared;
mod element;
mod fixed;
mod form;
mod head;
mod layout;
mod list;
mod malformed;
mod message;
mod scratch;
mod value;
#[cfg(test)]
mod value_tests;

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

pub use argument::{Argument, Pass};
pub use declared::{DeclaredError, Undeclared};
pub use element::Element;
pub use fixed::Fixed;
pub(crate) use fixed::{lend_all_mut, lend_private};
pub(crate) use form::view;
pub use form::{Form, Wire};
pub use head::{Head, MAX_HEAD, Writer, align8, offsets};
pub use layout::{EnumLayout, Field, HeadField, HeadLayout, Layout, Primitive, StructLayout, ValueType, Variant};
pub use list::{List, ListIter};
pub use malformed::Malformed;
pub use message::{Message, ReplyValue};
pub use scratch::Scratch;
pub(crate) use scratch::{Words, with_scratch};

/// Up to so many bytes, a message is written to the stack and copied: what a slot of a ring holds.
pub(crate) const SHORT: usize = 232;

pub use value::{Value, deeper};

/// A type whose bytes are the same in every process: [`#[tachyon::payload]`](macro@crate::payload) implements it for
/// structs and enums, this crate for numbers, `bool` and arrays.
///
/// A payload has no padding, no pointers and an alignment of at most 8 bytes. It describes itself field by field, so
/// that two processes can compare what they mean by it before they exchange the first one.
///
/// ```
/// use tachyon::{Layout, Payload};
///
/// #[tachyon::payload]
/// struct Quote {
///     instrument: u64,
///     bid: f64,
///     live: bool,
///     _pad: [u8; 7],
/// }
///
/// let Layout::Struct(layout) = Quote::LAYOUT else { panic!("a struct") };
/// assert_eq!((layout.name, layout.size), ("Quote", 24));
/// assert_eq!((layout.fields[1].name, layout.fields[1].offset), ("bid", 8));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a payload type",
    label = "not a payload",
    note = "payloads are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, arrays of payloads, and structs and enums \
            marked with `#[tachyon::payload]`"
)]
pub trait Payload: TryFromBytes + IntoBytes + KnownLayout + Immutable + Sized + 'static {
    /// How the type lies in memory.
    const LAYOUT: &'static Layout;
}

macro_rules! primitives {
    ($($ty:ty => $primitive:ident),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl Payload for $ty {
            const LAYOUT: &'static Layout = &Layout::Primitive(Primitive::$primitive);
        }
    )*};
}

primitives! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    f32 => F32, f64 => F64, bool => Bool,
}

#[diagnostic::do_not_recommend]
impl<T: Payload, const N: usize> Payload for [T; N] {
    const LAYOUT: &'static Layout = &Layout::Array { of: <T as Payload>::LAYOUT, len: N };
}
