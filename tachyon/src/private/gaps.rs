//! Checks of fixed payloads in constants: only the compiler knows the sizes of other types.

use core::marker::PhantomData;

use super::message::Message;
use super::select::Select;
use crate::schema::payload::Fixed;

/// Tests whether `T` is a fixed payload: [`YES`](Self::YES).
pub struct IsFixed<T>(PhantomData<T>);

impl<T: Fixed> IsFixed<T> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other types.
pub trait NotFixed {
    /// The test fails.
    const YES: bool = false;
}

impl<T> NotFixed for IsFixed<T> {}

/// A payload whose mistakes are reported at its definition, so that its users report no second error.
pub trait Defined {}

/// Tests whether `T` is [`Defined`]: [`YES`](Self::YES).
pub struct IsDefined<T>(PhantomData<T>);

impl<T: Defined> IsDefined<T> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other types.
pub trait NotDefined {
    /// The test fails.
    const YES: bool = false;
}

impl<T> NotDefined for IsDefined<T> {}

/// The type to check for travelling: `T`, or a stand-in for a type that was checked at its definition.
pub trait Asked<T> {
    /// The type.
    type Type;
}

impl<T> Asked<T> for Select<false> {
    type Type = T;
}

impl<T> Asked<T> for Select<true> {
    type Type = u8;
}

/// Where a struct's fields lie, by the rules of C.
#[derive(Clone, Copy)]
pub struct Shape<const N: usize> {
    /// Offset of each field in bytes.
    pub offsets: [usize; N],
    /// Padding in bytes before each field.
    gaps: [usize; N],
    /// End of the last field in bytes.
    end: usize,
}

/// The shape of a struct whose fields have these sizes and alignments.
pub const fn shape<const N: usize>(fields: [(usize, usize); N]) -> Shape<N> {
    let (mut offsets, mut gaps, mut end, mut at) = ([0; N], [0; N], 0usize, 0);
    while at < N {
        let (size, align) = fields[at];
        offsets[at] = end.next_multiple_of(align);
        gaps[at] = offsets[at] - end;
        end = offsets[at] + size;
        at += 1;
    }
    Shape { offsets, gaps, end }
}

/// Refuses a type that travels but has no fixed size, as a field of a fixed payload.
///
/// # Panics
///
/// When the type travels and is not fixed. The macro calls this in constants only, so the panic is a compile error, and
/// `#[track_caller]` puts it at the field's type.
#[track_caller]
pub const fn assert_fixed(is_value: bool, is_fixed: bool, ty: &str) {
    if is_fixed || !is_value {
        return;
    }
    let mut message = Message::new();
    message.push("`");
    message.push(ty);
    message.push("` has no fixed size: mark the struct `#[tachyon::payload(extensible)]`");
    panic!("{}", message.text());
}

/// As [`assert_fixed`], for the elements of an array.
///
/// # Panics
///
/// As [`assert_fixed`].
#[track_caller]
pub const fn assert_fixed_element(is_value: bool, is_fixed: bool, ty: &str) {
    if is_fixed || !is_value {
        return;
    }
    let mut message = Message::new();
    message.push("`");
    message.push(ty);
    message.push("` has no fixed size, and the elements of an array have one: write `Vec<");
    message.push(ty);
    message.push(">`");
    panic!("{}", message.text());
}

/// Refuses padding before a field.
///
/// # Panics
///
/// When there is padding, as [`assert_fixed`].
#[track_caller]
pub const fn assert_no_gap_before<const N: usize>(field: &str, shape: &Shape<N>, at: usize) {
    if shape.gaps[at] == 0 {
        return;
    }
    let mut message = gap(shape.gaps[at]);
    message.push(" before `");
    message.push(field);
    message.push("`: add the field `_pad: [u8; ");
    message.push_number(shape.gaps[at]);
    message.push("]` there, or put larger fields first");
    panic!("{}", message.text());
}

/// Refuses padding after the last field of a struct of `size` bytes.
///
/// # Panics
///
/// As [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_no_gap_after<const N: usize>(field: &str, shape: &Shape<N>, size: usize) {
    if size == shape.end {
        return;
    }
    assert!(size > shape.end, "a payload is `repr(C)` and nothing else");
    let mut message = gap(size - shape.end);
    message.push(" after `");
    message.push(field);
    message.push("`: add the field `_pad: [u8; ");
    message.push_number(size - shape.end);
    message.push("]` at the end");
    panic!("{}", message.text());
}

/// Refuses an empty payload.
///
/// # Panics
///
/// When the size is 0, as [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_not_empty(size: usize) {
    assert!(size != 0, "a payload has at least one byte: use `()` for a request or a reply of nothing");
}

/// Refuses a payload with a larger alignment than a ring.
///
/// # Panics
///
/// When the alignment is more than 8 bytes, as [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_aligned(align: usize) {
    assert!(align <= 8, "a payload is aligned to 8 bytes at most: leave `repr(align)` out");
}

/// Refuses an enum of another size than its number.
///
/// # Panics
///
/// When the sizes differ, as [`assert_no_gap_before`].
#[track_caller]
pub const fn assert_number(size: usize, number: usize) {
    assert!(size == number, "a payload enum is as large as its number: leave `repr(align)` out");
}

const fn gap(bytes: usize) -> Message {
    let mut message = Message::new();
    message.push("a payload has no padding, and there ");
    message.push(if bytes == 1 { "is " } else { "are " });
    message.push_number(bytes);
    message.push(if bytes == 1 { " byte of it" } else { " bytes of it" });
    message
}

/// Whether the bytes from `at` on begin with a `T`.
///
/// # Panics
///
/// When `bytes` is shorter.
#[inline]
pub fn is_valid<T: Fixed>(bytes: &[u8], at: usize) -> bool {
    if const { T::LAYOUT.accepts_any_bytes() } {
        return true;
    }
    T::is_valid(&bytes[at..])
}

/// The first `N` bytes, as those of a number.
///
/// # Panics
///
/// When `bytes` is shorter.
#[inline]
pub fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a value of the type has so many bytes")
}

/// The body of code that stands in for a refused type.
///
/// # Panics
///
/// Always. No program that compiles calls this.
pub fn never_compiled() -> ! {
    unreachable!("the compiler refuses the type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_side_by_side_pass() {
        let shape = shape([(8, 8), (4, 4), (4, 2)]);
        assert_eq!(shape.offsets, [0, 8, 12]);
        for at in 0..3 {
            assert_no_gap_before("b", &shape, at);
        }
        assert_no_gap_after("b", &shape, 16);
        assert_not_empty(1);
        assert_aligned(8);
        assert_number(2, 2);
        assert_fixed(true, true, "T");
        assert_fixed(false, false, "T");
    }

    #[test]
    #[should_panic(expected = "there are 4 bytes of it before `b`: add the field `_pad: [u8; 4]` there")]
    fn a_gap_between_is_named() {
        assert_no_gap_before("b", &shape([(4, 4), (8, 8)]), 1);
    }

    #[test]
    #[should_panic(expected = "there is 1 byte of it after `live`: add the field `_pad: [u8; 1]` at the end")]
    fn a_gap_at_the_end_is_named() {
        assert_no_gap_after("live", &shape([(2, 2), (1, 1)]), 4);
    }

    #[test]
    #[should_panic(expected = "`Scan` has no fixed size: mark the struct `#[tachyon::payload(extensible)]`")]
    fn a_variable_type_is_named() {
        assert_fixed(true, false, "Scan");
    }

    #[test]
    #[should_panic(expected = "`Scan` has no fixed size, and the elements of an array have one: write `Vec<Scan>`")]
    fn a_variable_element_is_named() {
        assert_fixed_element(true, false, "Scan");
    }

    #[test]
    #[should_panic(expected = "as large as its number")]
    fn an_enum_is_not_larger_than_its_number() {
        assert_number(8, 1);
    }

    #[test]
    #[should_panic(expected = "at most")]
    fn a_payload_is_not_aligned_to_more_than_a_ring() {
        assert_aligned(16);
    }
}
