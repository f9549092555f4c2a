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
mod value;
#[cfg(test)]
mod value_tests;

pub use argument::{Argument, Pass};
pub use declared::{DeclaredError, Undeclared};
pub use fixed::{Fixed, assert_place};
pub(crate) use fixed::{lend_all_mut, lend_private};
pub use form::Form;
pub use head::{Head, Writer, align8, offsets};
pub use layout::{EnumLayout, Field, HeadField, HeadLayout, Layout, Primitive, StructLayout, ValueType, Variant};
pub use list::{List, ListIter, list_len, own_list, read_list, write_list};
pub use malformed::{Malformed, Refused};
pub use message::{Message, NoOption, ReplyValue};
pub use scratch::Scratch;
pub(crate) use scratch::{Words, with_scratch};
pub(crate) use value::LONGEST_BY_VALUE;
pub use value::{Value, assert_by_value, deeper, deepest};

/// Up to so many bytes, a message is written to the stack and copied: what a slot of a ring holds.
pub(crate) const SHORT: usize = 232;

/// Lends `len` bytes of the stack, at most [`SHORT`]. Few bytes cost less to clear.
#[inline]
pub(crate) fn on_stack<R>(len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
    const FEW: usize = 64;
    if len <= FEW { write(&mut [0; FEW][..len]) } else { write(&mut [0; SHORT][..len]) }
}
