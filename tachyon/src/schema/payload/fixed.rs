//! Fixed payloads: types whose bytes are the same in every process.
#![allow(unsafe_code, reason = "casts between values and bytes; every such cast is in this file")]

use core::mem::MaybeUninit;
use core::ptr;
use core::slice::{from_raw_parts, from_raw_parts_mut};

use super::layout::{Layout, Primitive};
use super::malformed::{BoxedMalformed, Malformed, invalid};

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
    /// The layout of the type in memory.
    const LAYOUT: &'static Layout;

    /// Whether the first `size_of::<Self>()` bytes of `bytes` are a value.
    ///
    /// # Panics
    /// When `bytes` is shorter.
    #[doc(hidden)]
    fn is_valid(bytes: &[u8]) -> bool;
}

macro_rules! numbers {
    ($($ty:ident => $primitive:ident),* $(,)?) => {$(
        // SAFETY: a number has no padding and an alignment of at most 8, and any bytes are a number.
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

// SAFETY: an array is its elements, one behind the other. It is valid if the bytes of each element are valid.
#[diagnostic::do_not_recommend]
unsafe impl<T: Fixed, const N: usize> Fixed for [T; N] {
    const LAYOUT: &'static Layout = &Layout::Array { of: T::LAYOUT, len: N };

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        // `chunks_exact` panics on chunks of 0 bytes.
        if const { size_of::<Self>() == 0 || T::LAYOUT.accepts_any_bytes() } {
            return true;
        }
        bytes[..size_of::<Self>()].chunks_exact(size_of::<T>()).all(|each| T::is_valid(each))
    }
}

/// Refuses a field that does not lie at its offset in a struct of `repr(C)`, for generated code.
///
/// # Safety
/// `start` is the beginning of memory for an `S`, and `field` points to a field in it.
///
/// # Panics
/// When the field lies elsewhere. The macro calls this function in constants only, so the panic is a compile error.
#[doc(hidden)]
#[track_caller]
pub const unsafe fn assert_place<S, T>(start: *const S, field: *const T, expected: usize) {
    // SAFETY: the caller promises that both pointers belong to one allocation.
    let found = unsafe { field.cast::<u8>().offset_from_unsigned(start.cast()) };
    assert!(found == expected, "another attribute has changed how the struct lies in memory: payloads are `repr(C)`");
}

/// The bytes of `values`.
#[inline]
pub(crate) fn bytes_of<T: Fixed>(values: &[T]) -> &[u8] {
    // SAFETY: the slice lies in one allocation of `size_of_val(values)` bytes. `Fixed` promises that no byte is padding
    // and that no value has interior mutability.
    unsafe { from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The values that `bytes` are, in place. `None` when `bytes` is no whole number of aligned values, or when some bytes
/// are no value of the type.
#[inline]
pub(crate) fn cast_slice<T: Fixed>(bytes: &[u8]) -> Option<&[T]> {
    if const { !T::LAYOUT.accepts_any_bytes() } {
        return None;
    }
    cast_checked(bytes)
}

/// Like [`cast_slice`], for any type: the caller has checked the bytes with [`Fixed::is_valid`], and no peer can write
/// to them, unless the type accepts any bytes.
#[inline]
fn cast_checked<T: Fixed>(bytes: &[u8]) -> Option<&[T]> {
    const { assert!(size_of::<T>() != 0, "a payload has at least one byte") };
    let start: *const T = bytes.as_ptr().cast();
    if !start.is_aligned() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return None;
    }
    // SAFETY: the bytes are aligned and as long as the values. Each value is valid, because the type accepts any bytes
    // or because the caller has checked these bytes. The bytes stay borrowed for as long as the slice.
    Some(unsafe { from_raw_parts(start, bytes.len() / size_of::<T>()) })
}

/// The one value that `bytes` are, in place; `None` as for [`cast_slice`].
#[inline]
pub(crate) fn cast_ref<T: Fixed>(bytes: &[u8]) -> Option<&T> {
    let start: *const T = bytes.as_ptr().cast();
    if const { !T::LAYOUT.accepts_any_bytes() } || bytes.len() != size_of::<T>() || !start.is_aligned() {
        return None;
    }
    // SAFETY: the bytes are aligned and as many as a value has, the type accepts any bytes, and the bytes stay borrowed
    // for as long as the value.
    Some(unsafe { &*start })
}

/// The values that `bytes` are, in place, after a check of each. No peer can write to `bytes`.
///
/// # Errors
/// [`Malformed`]: the bytes are no whole number of values, or one value is invalid.
#[inline]
pub(crate) fn check_slice<T: Fixed>(bytes: &[u8]) -> Result<&[T], BoxedMalformed> {
    let each = size_of::<T>();
    if !bytes.len().is_multiple_of(each) {
        return Err(Malformed::Remainder { name: T::LAYOUT.name(), each, found: bytes.len() }.into());
    }
    if const { !T::LAYOUT.accepts_any_bytes() } && !bytes.chunks_exact(each).all(|bytes| T::is_valid(bytes)) {
        let wrong = bytes.chunks_exact(each).find(|bytes| !T::is_valid(bytes)).unwrap_or_default();
        return Err(invalid(T::LAYOUT, wrong));
    }
    cast_checked(bytes).ok_or_else(|| Malformed::Misaligned.into())
}

/// A copy of the value that `bytes` are. The copy is checked, since a peer may still write to `bytes`.
///
/// # Errors
/// [`Malformed`]: the length is wrong, or the value is invalid.
#[inline]
pub(crate) fn read<T: Fixed>(bytes: &[u8]) -> Result<T, BoxedMalformed> {
    if bytes.len() != size_of::<T>() {
        return Err(Malformed::Length { name: T::LAYOUT.name(), expected: size_of::<T>(), found: bytes.len() }.into());
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the value has `size_of::<T>()` bytes, the borrow of `value` ends before its next use, and `copy_once`
    // writes each byte.
    let copy = unsafe { from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    copy_once(bytes, copy);
    if const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(copy) {
        return Err(invalid(T::LAYOUT, copy));
    }
    // SAFETY: all bytes are written, and they are a valid value.
    Ok(unsafe { value.assume_init() })
}

/// Like [`read`], but into a `Vec` of one value: the value is never on the stack.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn read_to_heap<T: Fixed>(bytes: &[u8]) -> Result<Vec<T>, BoxedMalformed> {
    if bytes.len() != size_of::<T>() {
        return Err(Malformed::Length { name: T::LAYOUT.name(), expected: size_of::<T>(), found: bytes.len() }.into());
    }
    let mut value = Vec::<T>::with_capacity(1);
    // SAFETY: there is room for one value of `size_of::<T>()` bytes, the borrow of `value` ends before its next use,
    // and `copy_once` writes each byte.
    let copy = unsafe { from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    copy_once(bytes, copy);
    if const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(copy) {
        return Err(invalid(T::LAYOUT, copy));
    }
    // SAFETY: all bytes of the one value are written, and they are a valid value.
    unsafe { value.set_len(1) };
    Ok(value)
}

/// Like [`read`], for bytes of the right length that no peer can write to.
#[inline]
pub(crate) fn read_private<T: Fixed>(bytes: &[u8]) -> Result<T, BoxedMalformed> {
    debug_assert_eq!(bytes.len(), size_of::<T>());
    if bytes.len() != size_of::<T>() || const { !T::LAYOUT.accepts_any_bytes() } && !T::is_valid(bytes) {
        return Err(invalid(T::LAYOUT, bytes));
    }
    // SAFETY: the length is that of a value, and the bytes are a valid value.
    Ok(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// The values that `bytes` are, to be changed in place. `None` when `bytes` is no whole number of aligned values, or
/// when a value is invalid.
#[inline]
pub(crate) fn cast_slice_mut<T: Fixed>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let each = size_of::<T>();
    let start: *mut T = bytes.as_mut_ptr().cast();
    if !start.is_aligned() || !bytes.len().is_multiple_of(each) {
        return None;
    }
    if const { !T::LAYOUT.accepts_any_bytes() } && !bytes.chunks_exact(each).all(|bytes| T::is_valid(bytes)) {
        return None;
    }
    // SAFETY: the bytes are aligned, as long as the values, and valid. The exclusive borrow makes this the only slice
    // of the bytes, and any value written through the slice is bytes again, without padding.
    Some(unsafe { from_raw_parts_mut(start, bytes.len() / each) })
}

/// Owned copies of the values. `to_vec` may clone them one by one, over the stack; this function copies their bytes.
pub(crate) fn own_all<T: Fixed>(values: &[T]) -> Vec<T> {
    let mut owned = Vec::with_capacity(values.len());
    // SAFETY: `owned` is another allocation, aligned and with room for `values.len()` values.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), owned.as_mut_ptr(), values.len()) };
    // SAFETY: `values.len()` values are written. A `Fixed` is `Copy`, so a copy of its bytes is a value.
    unsafe { owned.set_len(values.len()) };
    owned
}

/// Copies bytes that a peer may write to meanwhile. Each byte is read once, and only the copy is used afterwards.
///
/// The compiler takes bytes behind `&[u8]` for constant. So it may remove a plain copy to the stack, and read the
/// original again.
///
/// # Panics
/// When the slices differ in length.
#[inline]
#[allow(clippy::cast_ptr_alignment, reason = "the alignment is checked first")]
pub(crate) fn copy_once(from: &[u8], to: &mut [u8]) {
    /// Most bytes for which a copy word by word costs less than a call.
    const SHORT: usize = 64;
    assert_eq!(from.len(), to.len(), "a copy is as long as its source");
    if from.len() <= SHORT && from.as_ptr().cast::<u64>().is_aligned() {
        let mut words = to.chunks_exact_mut(8);
        let mut at = 0;
        for word in &mut words {
            // SAFETY: eight bytes of `from` lie there, at a multiple of 8 from an aligned beginning.
            let read = unsafe { ptr::read_volatile(from.as_ptr().wrapping_add(at).cast::<u64>()) };
            word.copy_from_slice(&read.to_ne_bytes());
            at += 8;
        }
        for (byte, at) in words.into_remainder().iter_mut().zip(at..) {
            // SAFETY: the byte lies in `from`, which is as long as `to`.
            *byte = unsafe { ptr::read_volatile(from.as_ptr().wrapping_add(at)) };
        }
        return;
    }
    to.copy_from_slice(from);
    // From here on the compiler takes the bytes of the copy for unknown.
    core::hint::black_box(to);
}
