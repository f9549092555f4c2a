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

pub use argument::{Argument, Pass};
pub use declared::{DeclaredError, Undeclared};
pub(crate) use element::Element;
pub use fixed::Fixed;
pub(crate) use fixed::{lend_all_mut, lend_private};
pub(crate) use form::view;
pub use form::{Form, Wire};
pub use head::{Head, MAX_HEAD, Writer, align8, offsets};
pub use layout::{EnumLayout, Field, HeadField, HeadLayout, Layout, Primitive, StructLayout, ValueType, Variant};
pub use list::{List, ListIter, list_len, own_list, read_list, write_list};
pub use malformed::Malformed;
pub use message::{Message, ReplyValue};
pub use scratch::Scratch;
pub use value::{Value, deeper, deepest};
