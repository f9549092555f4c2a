//! The forms a request or a reply can take: nothing, bytes, one payload, a slice of payloads.

use core::borrow::Borrow;
use core::ops::Deref;
use core::slice::from_ref;

use super::element::Element;
use super::malformed::Malformed;
use super::{HeadLayout, Layout, Primitive, ValueType};

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

/// What can be a whole request or reply: a [`Fixed`](crate::Fixed) payload, a slice of them, and `()`.
///
/// Bytes that may be any value of the type are lent where they lie. With a `bool` or an enum in it they are copied
/// first and looked at then: the peer can still write to the ring, and a value that was checked there could become one
/// that the type does not have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a payload nor a slice of payloads",
    label = "cannot be a request or a reply",
    note = "payloads are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, arrays of payloads, and structs and enums \
            marked with `#[tachyon::payload]`"
)]
pub trait Wire {
    /// The form it has.
    const FORM: Form;
    /// The type that holds it for good.
    type Owned: Borrow<Self>;

    /// The bytes that travel.
    fn bytes(&self) -> &[u8];

    /// The value in `bytes`, when they may be lent as they are.
    #[doc(hidden)]
    fn in_place(bytes: &[u8]) -> Option<&Self>;

    /// A copy of the value in `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] when there is none.
    fn read(bytes: &[u8]) -> Result<Self::Owned, Malformed>;
}

#[diagnostic::do_not_recommend]
impl Wire for () {
    const FORM: Form = Form::Empty;
    type Owned = ();

    fn bytes(&self) -> &[u8] {
        &[]
    }

    #[inline]
    fn in_place(bytes: &[u8]) -> Option<&Self> {
        bytes.is_empty().then_some(&())
    }

    fn read(bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.is_empty() { Ok(()) } else { Err(Malformed::NotEmpty { found: bytes.len() }) }
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element> Wire for T {
    const FORM: Form = Form::Value(&ValueType::Fixed(T::LAYOUT_OF));
    type Owned = T;

    #[inline]
    fn bytes(&self) -> &[u8] {
        T::bytes_of(from_ref(self))
    }

    #[inline]
    fn in_place(bytes: &[u8]) -> Option<&Self> {
        T::lend(bytes)
    }

    fn read(bytes: &[u8]) -> Result<T, Malformed> {
        T::read_one(bytes)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element> Wire for [T] {
    const FORM: Form = match T::LAYOUT_OF {
        Layout::Primitive(Primitive::U8) => Form::Bytes,
        _ => Form::Value(&ValueType::List(&ValueType::Fixed(T::LAYOUT_OF))),
    };
    type Owned = Vec<T>;

    #[inline]
    fn bytes(&self) -> &[u8] {
        T::bytes_of(self)
    }

    #[inline]
    fn in_place(bytes: &[u8]) -> Option<&Self> {
        T::lend_all(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Vec<T>, Malformed> {
        let each = size_of::<T>();
        if each == 0 || !bytes.len().is_multiple_of(each) {
            return Err(Malformed::Remainder { name: T::LAYOUT_OF.name(), each, found: bytes.len() });
        }
        bytes.chunks_exact(each).map(T::read_one).collect()
    }
}

/// A value of a message: where it lies, or copied out of there.
#[derive(Debug)]
pub(crate) enum Viewed<'a, W: Wire + ?Sized> {
    InPlace(&'a W),
    Copied(W::Owned),
}

impl<W: Wire + ?Sized> Deref for Viewed<'_, W> {
    type Target = W;

    #[inline]
    fn deref(&self) -> &W {
        match self {
            Self::InPlace(value) => value,
            Self::Copied(value) => value.borrow(),
        }
    }
}

/// The value in `bytes`.
#[inline]
pub(crate) fn view<W: Wire + ?Sized>(bytes: &[u8]) -> Result<Viewed<'_, W>, Malformed> {
    match W::in_place(bytes) {
        Some(value) => Ok(Viewed::InPlace(value)),
        None => Ok(Viewed::Copied(W::read(bytes)?)),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::payload::fixed::bytes_of;

    #[crate::payload(crate = crate)]
    #[derive(Debug, PartialEq)]
    #[repr(i8)]
    enum Side {
        Buy = -1,
        Sell = 1,
    }

    #[crate::payload(crate = crate)]
    #[derive(Debug, PartialEq)]
    struct Order {
        quantity: u16,
        sides: [Side; 2],
    }

    #[test]
    fn plain_values_are_lent_where_they_lie() {
        let words = [1u64, 2, 3];
        let bytes = words.as_bytes();
        assert!(matches!(view::<[u64]>(bytes), Ok(Viewed::InPlace(found)) if found == words));
        assert!(matches!(view::<u64>(&bytes[..8]), Ok(Viewed::InPlace(1))));
        assert!(matches!(view::<[u8]>(&bytes[1..4]), Ok(Viewed::InPlace([0, 0, 0]))));
        assert!(matches!(view::<()>(&[]), Ok(Viewed::InPlace(()))));
    }

    #[test]
    fn what_could_become_invalid_or_is_misaligned_is_copied() {
        let order = Order { quantity: 7, sides: [Side::Buy, Side::Sell] };
        assert!(matches!(view::<Order>(bytes_of(&[order])), Ok(Viewed::Copied(found)) if found == order));
        assert!(matches!(view::<[bool]>(&[0, 1]), Ok(Viewed::Copied(found)) if found == [false, true]));
        let bytes = [0u64, 1];
        let found = view::<u32>(&bytes.as_bytes()[3..7]).unwrap();
        assert!(matches!(found, Viewed::Copied(0)));
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        let text = |problem: Malformed| problem.to_string();
        assert_eq!(text(view::<()>(&[1]).unwrap_err()), "1 bytes came where none are expected");
        assert_eq!(text(view::<u64>(&[1; 7]).unwrap_err()), "7 bytes came, and u64 has 8");
        assert_eq!(text(view::<[u32]>(&[1; 7]).unwrap_err()), "7 bytes came, which is no multiple of the 4 of u32");
        assert_eq!(text(view::<Order>(&[0, 0, 1, 7]).unwrap_err()), "Order.sides[1] is 7, and Side has no such value");
        assert_eq!(text(view::<[bool]>(&[1, 2]).unwrap_err()), "bool is 2, and bool has no such value");
    }

    #[test]
    fn forms() {
        assert_eq!(<[u8]>::FORM, Form::Bytes);
        assert_eq!(<[u16]>::FORM, Form::Value(&ValueType::List(&ValueType::Fixed(&Layout::Primitive(Primitive::U16)))));
        assert_eq!(<() as Wire>::FORM, Form::Empty);
        assert!(<[f64; 3]>::FORM.is_typed() && !<[u8]>::FORM.is_typed());
    }
}
