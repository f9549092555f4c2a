//! Types that travel: how their values lie in a message, and how they are described.

mod argument;
mod declared;
mod fixed;
mod form;
mod head;
mod layout;
mod list;
mod malformed;
mod message;
pub(crate) mod plan;
mod scratch;
#[cfg(test)]
mod tests;
mod value;

pub use argument::{Argument, Pass};
pub use declared::{DeclaredError, Undeclared};
pub use fixed::Fixed;
pub(crate) use fixed::{lend_all_mut, lend_private};
pub use form::Form;
pub use layout::{EnumLayout, Field, HeadField, HeadLayout, Layout, Primitive, StructLayout, ValueType, Variant};
pub use list::{List, ListIter};
pub use malformed::Malformed;
pub use message::ReplyValue;
pub(crate) use scratch::{Words, with_scratch};
pub(crate) use value::LONGEST_BY_VALUE;
pub use value::Value;

// Generated code and bindings name these.
#[doc(hidden)]
pub use fixed::assert_place;
#[doc(hidden)]
pub use head::{Head, Writer, align8, offsets};
#[doc(hidden)]
pub use list::{list_len, own_list, read_list, write_list};
#[doc(hidden)]
pub use malformed::Refused;
#[doc(hidden)]
pub use message::{Message, NoOption};
#[doc(hidden)]
pub use scratch::Scratch;
#[doc(hidden)]
pub use value::{assert_by_value, deeper, deepest};

/// Up to so many bytes, a message is written to the stack and copied: what a slot of a ring holds.
pub(crate) const SHORT: usize = 232;

/// Lends `len` bytes of the stack, at most [`SHORT`]. Few bytes cost less to clear.
#[inline]
pub(crate) fn on_stack<R>(len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
    const FEW: usize = 64;
    if len <= FEW { write(&mut [0; FEW][..len]) } else { write(&mut [0; SHORT][..len]) }
}
