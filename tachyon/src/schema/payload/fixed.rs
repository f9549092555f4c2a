//! Fixed payloads: types whose bytes are the same in every process.
#![allow(unsafe_code, reason = "reads values from bytes and shows values as bytes; every such cast is in this file")]

use core::mem::MaybeUninit;
use core::ptr;
use core::slice::{from_raw_parts, from_raw_parts_mut};

use super::layout::{Layout, Primitive};
use super::malformed::{Malformed, Refused, invalid};

/// A type whose bytes are the same in every process: [`#[tachyon::payload]`](macro@crate::payload) implements it for
/// structs and enums, this crate for numbers, `bool` and arrays.
///
/// A fixed payload has no padding, no pointers and an alignment of at most 8 bytes. Its layout names every field, so
/// that two processes compare their definitions before they exchange the first value.
///
/// ```
/// use tachyon::payload::{Fixed, Layout};
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
///
/// # Safety
///
/// - The type has no padding, no pointer, no interior mutability and no drop glue, and its alignment is at most 8.
/// - `size_of::<Self>()` bytes for which [`is_valid`](Self::is_valid) returns true are a value of the type.
/// - Where [`Layout::accepts_any_bytes`] holds for `LAYOUT`, any bytes of that length are a value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no fixed size",
    label = "not a fixed payload",
    note = "fixed payloads are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, arrays of these, and structs and \
            enums of these marked with `#[tachyon::payload]`"
)]
pub unsafe trait Fixed: Copy + Send + Sync + 'static {
    /// How the type lies in memory.
    const LAYOUT: &'static Layout;

    /// Whether the first `size_of::<Self>()` of `bytes` are a value.
    ///
    /// # Panics
    /// When `bytes` is shorter.
    #[doc(hidden)]
    fn is_valid(bytes: &[u8]) -> bool;
}

macro_rules! numbers {
    ($($ty:ident => $primitive:ident),* $(,)?) => {$(
        // SAFETY: a number has no padding, an alignment of at most 8, and any bytes are one.
        #[diagnostic::do_not_recommend]
        unsafe impl Fixed for $ty {
            const LAYOUT: &'static Layout = &Layout::Primitive(Primitive::$primitive);

            #[inline]
            fn is_valid(_bytes: &[u8]) -> bool {
                true
            }
        }
    )*};
}

numbers! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    f32 => F32, f64 => F64,
}

// SAFETY: a `bool` is one byte, 0 or 1.
#[diagnostic::do_not_recommend]
unsafe impl Fixed for bool {
    const LAYOUT: &'static Layout = &Layout::Primitive(Primitive::Bool);

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        bytes[0] <= 1
    }
}

// SAFETY: an array is its elements, one behind the other, each a value if its bytes are.
#[diagnostic::do_not_recommend]
unsafe impl<T: Fixed, const N: usize> Fixed for [T; N] {
    const LAYOUT: &'static Layout = &Layout::Array { of: T::LAYOUT, len: N };

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        // An array may have no bytes at all, which no chunks make up.
        if const { size_of::<Self>() == 0 || T::LAYOUT.accepts_any_bytes() } {
            return true;
        }
        bytes[..size_of::<Self>()].chunks_exact(size_of::<T>()).all(|each| T::is_valid(each))
    }
}

/// Refuses a field that does not lie where a struct of `repr(C)` has it, for generated code.
///
/// # Safety
/// `start` is the beginning of memory for an `S`, and `field` points to a field in it.
///
/// # Panics
/// When the field lies elsewhere. The macro calls this in constants only, so the panic is a compile error.
#[doc(hidden)]
#[track_caller]
pub const unsafe fn assert_place<S, T>(start: *const S, field: *const T, expected: usize) {
    // SAFETY: the caller has both from one allocation.
    let found = unsafe { field.cast::<u8>().offset_from_unsigned(start.cast()) };
    assert!(found == expected, "another attribute has changed how the struct lies in memory: payloads are `repr(C)`");
}

/// The bytes of `values`.
#[inline]
pub(crate) fn bytes_of<T: Fixed>(values: &[T]) -> &[u8] {
    // SAFETY: the slice lies in one allocation of so many bytes; `Fixed` promises that none of them is padding and that
    // nothing behind a shared reference changes.
    unsafe { from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The values that `bytes` are, in place; `None` when they are no whole number of aligned values, or when not all bytes
/// are a value.
#[inline]
pub(crate) fn lend_all<T: Fixed>(bytes: &[u8]) -> Option<&[T]> {
    if const { !T::LAYOUT.accepts_any_bytes() } {
        return None;
    }
    lend_checked(bytes)
}

/// As [`lend_all`], for bytes that are in nobody else's reach and were checked by [`Fixed::is_valid`].
#[inline]
fn lend_checked<T: Fixed>(bytes: &[u8]) -> Option<&[T]> {
    const { assert!(size_of::<T>() != 0, "a payload has at least one byte") };
    let start: *const T = bytes.as_ptr().cast();
    if !start.is_aligned() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return None;
    }
    // SAFETY: the bytes are aligned and as long as so many values; each of them is a value, since any bytes are or since
    // the caller has checked these; they stay borrowed for as long as the slice.
    Some(unsafe { from_raw_parts(start, bytes.len() / size_of::<T>()) })
}

/// The value that `bytes` are, in place, as [`lend_all`].
#[inline]
pub(crate) fn lend<T: Fixed>(bytes: &[u8]) -> Option<&T> {
    let start: *const T = bytes.as_ptr().cast();
    if const { !T::LAYOUT.accepts_any_bytes() } || bytes.len() != size_of::<T>() || !start.is_aligned() {
        return None;
    }
    // SAFETY: the bytes are aligned and as many as a value has, any bytes are one, and they stay borrowed for as long as
    // the value.
    Some(unsafe { &*start })
}

/// The values that `bytes` are, if each of them is valid. The bytes are in nobody else's reach.
///
/// # Errors
/// [`Malformed`]: they are no whole number of values, or one has no such value.
#[inline]
pub(crate) fn lend_private<T: Fixed>(bytes: &[u8]) -> Result<&[T], Refused> {
    let each = size_of::<T>();
    if !bytes.len().is_multiple_of(each) {
        return Err(Malformed::Remainder { name: T::LAYOUT.name(), each, found: bytes.len() }.into());
    }
    if const { !T::LAYOUT.accepts_any_bytes() } && !bytes.chunks_exact(each).all(|bytes| T::is_valid(bytes)) {
        let wrong = bytes.chunks_exact(each).find(|bytes| !T::is_valid(bytes)).unwrap_or_default();
        return Err(invalid(T::LAYOUT, wrong));
    }
    lend_checked(bytes).ok_or_else(|| Malformed::Misaligned.into())
}

/// A copy of the value that `bytes` are, checked after it was copied.
///
/// # Errors
/// [`Malformed`]: they are as many as no value has, or the type has no such value.
#[inline]
pub(crate) fn read<T: Fixed>(bytes: &[u8]) -> Result<T, Refused> {
    if bytes.len() != size_of::<T>() {
        return Err(Malformed::Length { name: T::LAYOUT.name(), expected: size_of::<T>(), found: bytes.len() }.into());
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the value has so many bytes, the borrow of `value` ends with the call, and `copy_once` writes each byte.
    let copy = unsafe { from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    copy_once(bytes, copy);
    if const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(copy) {
        return Err(invalid(T::LAYOUT, copy));
    }
    // SAFETY: all bytes are written, and they are a value.
    Ok(unsafe { value.assume_init() })
}

/// As [`read`], as the one value of a list: it is never on the stack.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_to_heap<T: Fixed>(bytes: &[u8]) -> Result<Vec<T>, Refused> {
    if bytes.len() != size_of::<T>() {
        return Err(Malformed::Length { name: T::LAYOUT.name(), expected: size_of::<T>(), found: bytes.len() }.into());
    }
    let mut value = Vec::<T>::with_capacity(1);
    // SAFETY: there is room for one value, which has so many bytes; the borrow of `value` ends before its next use, and
    // `copy_once` writes each byte.
    let copy = unsafe { from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    copy_once(bytes, copy);
    if const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(copy) {
        return Err(invalid(T::LAYOUT, copy));
    }
    // SAFETY: all bytes of the one value are written, and they are a value.
    unsafe { value.set_len(1) };
    Ok(value)
}

/// As [`read`], for bytes of the right length that are in nobody else's reach.
#[inline]
pub(crate) fn read_private<T: Fixed>(bytes: &[u8]) -> Result<T, Refused> {
    debug_assert_eq!(bytes.len(), size_of::<T>());
    if bytes.len() != size_of::<T>() || const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(bytes) {
        return Err(invalid(T::LAYOUT, bytes));
    }
    // SAFETY: so many bytes are there, and they are a value.
    Ok(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// The values that `bytes` are, to be changed in place; `None` as for [`lend_all`], or when one has no such value.
#[inline]
pub(crate) fn lend_all_mut<T: Fixed>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let each = size_of::<T>();
    let start: *mut T = bytes.as_mut_ptr().cast();
    if !start.is_aligned() || !bytes.len().is_multiple_of(each) {
        return None;
    }
    if const { !T::LAYOUT.accepts_any_bytes() } && !bytes.chunks_exact(each).all(|bytes| T::is_valid(bytes)) {
        return None;
    }
    // SAFETY: as in `lend_checked`; the exclusive borrow makes this the only slice of the bytes, and any value written
    // through it is bytes again, without padding.
    Some(unsafe { from_raw_parts_mut(start, bytes.len() / each) })
}

/// The values, owned. `to_vec` clones them one by one, over the stack, unless the compiler sees what it need not see.
pub(crate) fn own_all<T: Fixed>(values: &[T]) -> Vec<T> {
    let mut owned = Vec::with_capacity(values.len());
    // SAFETY: `owned` is another allocation, with room for so many, and aligned for them.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), owned.as_mut_ptr(), values.len()) };
    // SAFETY: so many values are written: a `Fixed` is `Copy`, so that a copy of its bytes is one.
    unsafe { owned.set_len(values.len()) };
    owned
}

/// Copies bytes that a peer can write to meanwhile: each is read once, so that the copy is all that decides afterwards.
///
/// A plain copy to the stack may be removed by the compiler, which takes bytes behind `&[u8]` for constant and may read
/// them again instead.
///
/// # Panics
/// When the two differ in length.
#[inline]
#[allow(clippy::cast_ptr_alignment, reason = "looked at before it is read")]
pub(crate) fn copy_once(from: &[u8], to: &mut [u8]) {
    /// Up to so many bytes, word by word costs less than a call.
    const SHORT: usize = 64;
    assert_eq!(from.len(), to.len(), "a copy is as long as its source");
    if from.len() <= SHORT && from.as_ptr().cast::<u64>().is_aligned() {
        let mut words = to.chunks_exact_mut(8);
        let mut at = 0;
        for word in &mut words {
            // SAFETY: eight bytes are there, at a multiple of 8 from an aligned beginning.
            let read = unsafe { ptr::read_volatile(from.as_ptr().wrapping_add(at).cast::<u64>()) };
            word.copy_from_slice(&read.to_ne_bytes());
            at += 8;
        }
        for (byte, at) in words.into_remainder().iter_mut().zip(at..) {
            // SAFETY: the byte is inside of `from`, which is as long as `to`.
            *byte = unsafe { ptr::read_volatile(from.as_ptr().wrapping_add(at)) };
        }
        return;
    }
    to.copy_from_slice(from);
    // The compiler has to take the copy's bytes for unknown from here on.
    core::hint::black_box(to);
}
