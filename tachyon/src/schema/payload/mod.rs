//! Types that travel: arguments, replies, declared errors, and messages of a bus.
//!
//! [`Value`] is the trait of these types, [`Fixed`] of the types with one size and one layout, [`DeclaredError`] of the
//! errors of endpoints. The macros [`payload`](macro@crate::payload) and [`error`](macro@crate::error) implement the
//! traits. [`Layout`], [`ValueType`] and [`Form`] are the layouts as constants, which two processes compare before the
//! first call. [`Malformed`] is the error of bytes that are not a value.

mod argument;
mod declared;
mod fixed;
mod form;
mod head;
mod layout;
mod list;
mod malformed;
mod message;
pub(crate) mod msgpack;
pub(crate) mod plan;
mod scratch;
pub(crate) mod tensor;
#[cfg(test)]
mod tests;
mod value;

pub use argument::{Argument, IntoView};
pub use declared::{DeclaredError, Undeclared};
pub use fixed::Fixed;
pub(crate) use fixed::{cast_slice_mut, check_slice};
pub use form::Form;
pub use layout::{
    EnumLayout, ErrorLayout, Field, HeadField, HeadLayout, Layout, Primitive, StructLayout, ValueType, Variant,
};
pub use list::{List, ListIter};
pub use malformed::Malformed;
pub use message::ReplyValue;
pub use msgpack::Msgpack;
pub(crate) use scratch::{Words, with_scratch};
pub use tensor::{Number, ShapeError, Tensor, TensorRef};
pub(crate) use value::LONGEST_BY_VALUE;
pub use value::Value;

// For generated code and bindings.
#[doc(hidden)]
pub use argument::ItemEncoding;
#[doc(hidden)]
pub use fixed::assert_place;
#[doc(hidden)]
pub use head::{Head, Writer, align8, offsets};
#[doc(hidden)]
pub use list::{list_len, own_list, read_list, write_list};
#[doc(hidden)]
pub use malformed::BoxedMalformed;
#[doc(hidden)]
pub use message::{Message, NoOption};
#[doc(hidden)]
pub use msgpack::{PackedArguments, PackedRequest, pack};
#[doc(hidden)]
pub use scratch::Scratch;
#[doc(hidden)]
pub use tensor::assert_ndim;
#[doc(hidden)]
pub use value::{assert_by_value, max_depth, outer_depth};

/// Longest message, in bytes, that is written to the stack and then copied: as much as a slot of a ring holds.
pub(crate) const SHORT: usize = 232;

/// Lends `len` bytes of the stack, at most [`SHORT`]. The smaller buffer costs less to clear.
#[inline]
pub(crate) fn on_stack<R>(len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
    const FEW: usize = 64;
    if len <= FEW { write(&mut [0; FEW][..len]) } else { write(&mut [0; SHORT][..len]) }
}
