//! Tensors: numbers in 1 to 8 dimensions.
//!
//! `docs/internals/wire-format.md` defines the bytes: the number of dimensions, the shape, and the values in C order.

#[cfg(feature = "ndarray")]
mod arrays;
#[cfg(test)]
mod tests;

use core::ops::{Index, IndexMut};

use thiserror::Error;

use super::argument::{Argument, IntoView, ItemEncoding};
use super::fixed::{self, Fixed, bytes_of, copy_once};
use super::form::Form;
use super::layout::{Primitive, ValueType};
use super::list::{List, list_of_variable, own_list, read_list};
use super::malformed::{BoxedMalformed, Malformed};
use super::message::{NoOption, ReplyValue};
use super::scratch::Scratch;
use super::value::Value;

/// Most dimensions of a tensor.
pub const MAX_NDIM: usize = 8;

/// A type of the values of a [`Tensor`]: `u8` to `u64`, `i8` to `i64`, `f32`, `f64`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a tensor",
    label = "not a number",
    note = "the values of a tensor are `u8` to `u64`, `i8` to `i64`, `f32`, or `f64`"
)]
pub trait Number: Fixed + sealed::Sealed {
    #[doc(hidden)]
    const PRIMITIVE: Primitive;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($ty:ident => $primitive:ident),* $(,)?) => {$(
        impl sealed::Sealed for $ty {}

        #[diagnostic::do_not_recommend]
        impl Number for $ty {
            const PRIMITIVE: Primitive = Primitive::$primitive;
        }
    )*};
}

numbers! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    f32 => F32, f64 => F64,
}

/// Numbers in `N` dimensions, from 1 to 8: an image, a batch of images, a matrix.
///
/// The number of dimensions and the type of the values belong to the contract; the shape travels with each value. A
/// handler receives a [`TensorRef`], whose values lie where the caller wrote them. The values are in C order: the last
/// index is the next value in memory. They begin at a multiple of 8 bytes, and of no larger number: code that needs
/// 64 bytes, for vector instructions, copies them.
///
/// With the cargo feature `ndarray`, `array` views a tensor as an array of the crate `ndarray`, and `from` makes a
/// tensor of an array.
///
/// ```
/// use tachyon::{Tensor, TensorRef, tachyon_rpc};
///
/// /// The brightest value of each row.
/// #[tachyon_rpc(msg_type = 1)]
/// fn brightest(image: TensorRef<'_, f32, 2>) -> Tensor<f32, 1> {
///     let [height, width] = image.shape();
///     let brightest = |row| (0..width).map(|column| image[[row, column]]).fold(f32::MIN, f32::max);
///     Tensor::new([height], (0..height).map(brightest).collect()).expect("a value for each row")
/// }
///
/// let image = Tensor::new([2, 3], vec![0.0, 0.5, 0.25, 1.0, 0.0, 0.75])?;
/// assert_eq!(brightest(image.view()).as_slice(), [0.5, 1.0]);
/// # Ok::<(), tachyon::payload::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<T, const N: usize> {
    shape: [usize; N],
    values: Vec<T>,
}

/// A borrowed [`Tensor`]: a handler receives it in place, and a caller sends it without an owned `Tensor`.
///
/// ```
/// use tachyon::TensorRef;
///
/// let pixels = [1_u8, 2, 3, 4, 5, 6];
/// let image = TensorRef::new([2, 3], &pixels)?;
/// assert_eq!(image[[1, 0]], 4);
/// assert!(TensorRef::new([2, 2], &pixels).is_err());
/// # Ok::<(), tachyon::payload::ShapeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorRef<'a, T, const N: usize> {
    shape: [usize; N],
    values: &'a [T],
}

/// A shape and values that make no tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Too few or too many values.
    #[error("the shape {shape:?} has {expected} values, and {found} were given")]
    Count {
        /// The shape.
        shape: Vec<usize>,
        /// The number of its values.
        expected: usize,
        /// The number of values given.
        found: usize,
    },
    /// A shape of more values than memory can hold.
    #[error("the shape {shape:?} has more values than memory can hold")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Values in another order than C order.
    #[error("the values of the array are not in C order; copy them with `Tensor::from`")]
    Order,
}

impl<T: Number, const N: usize> Tensor<T, N> {
    /// A tensor of `values`, which are in C order.
    ///
    /// # Errors
    /// [`ShapeError`]: the number of values is not the product of `shape`.
    pub fn new(shape: [usize; N], values: Vec<T>) -> Result<Self, ShapeError> {
        const { assert_ndim::<N>() };
        check_shape::<T>(&shape, values.len())?;
        Ok(Self { shape, values })
    }

    /// The length of each dimension.
    pub fn shape(&self) -> [usize; N] {
        self.shape
    }

    /// The values in C order.
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The values in C order, to change them.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The values in C order.
    pub fn into_vec(self) -> Vec<T> {
        self.values
    }

    /// The tensor, borrowed.
    pub fn view(&self) -> TensorRef<'_, T, N> {
        TensorRef { shape: self.shape, values: &self.values }
    }
}

impl<'a, T: Number, const N: usize> TensorRef<'a, T, N> {
    /// A tensor of `values`, which are in C order.
    ///
    /// # Errors
    /// [`ShapeError`]: the number of values is not the product of `shape`.
    pub fn new(shape: [usize; N], values: &'a [T]) -> Result<Self, ShapeError> {
        const { assert_ndim::<N>() };
        check_shape::<T>(&shape, values.len())?;
        Ok(Self { shape, values })
    }

    /// The length of each dimension.
    pub fn shape(self) -> [usize; N] {
        self.shape
    }

    /// The values in C order.
    pub fn as_slice(self) -> &'a [T] {
        self.values
    }

    /// An owned copy.
    pub fn into_owned(self) -> Tensor<T, N> {
        Tensor { shape: self.shape, values: fixed::own_all(self.values) }
    }
}

impl<'a, T: Number, const N: usize> From<&'a Tensor<T, N>> for TensorRef<'a, T, N> {
    fn from(tensor: &'a Tensor<T, N>) -> Self {
        tensor.view()
    }
}

/// The value at an index of each dimension.
///
/// # Panics
/// When an index is not less than the length of its dimension.
impl<T, const N: usize> Index<[usize; N]> for TensorRef<'_, T, N> {
    type Output = T;

    fn index(&self, index: [usize; N]) -> &T {
        &self.values[place_of(self.shape, index)]
    }
}

/// The value at an index of each dimension.
///
/// # Panics
/// When an index is not less than the length of its dimension.
impl<T, const N: usize> Index<[usize; N]> for Tensor<T, N> {
    type Output = T;

    fn index(&self, index: [usize; N]) -> &T {
        &self.values[place_of(self.shape, index)]
    }
}

impl<T, const N: usize> IndexMut<[usize; N]> for Tensor<T, N> {
    fn index_mut(&mut self, index: [usize; N]) -> &mut T {
        &mut self.values[place_of(self.shape, index)]
    }
}

/// The index of a value in C order.
#[track_caller]
pub(crate) fn place_of<const N: usize>(shape: [usize; N], index: [usize; N]) -> usize {
    let mut place = 0;
    for (at, len) in index.into_iter().zip(shape) {
        assert!(at < len, "the index {index:?} is not in the shape {shape:?}");
        place = place * len + at;
    }
    place
}

/// Refuses a type of 0 dimensions, or of more than 8.
///
/// # Panics
/// When `N` is another number. Constants call this function, so the panic is a compile error.
#[doc(hidden)]
#[track_caller]
pub const fn assert_ndim<const N: usize>() {
    assert!(N >= 1 && N <= MAX_NDIM, "a tensor has 1 to 8 dimensions");
}

fn check_shape<T: Number>(shape: &[usize], found: usize) -> Result<(), ShapeError> {
    match count_of(shape, size_of::<T>()) {
        None => Err(ShapeError::TooLarge { shape: shape.to_vec() }),
        Some(expected) if expected != found => Err(ShapeError::Count { shape: shape.to_vec(), expected, found }),
        Some(_) => Ok(()),
    }
}

/// The number of values of a shape; `None` when memory cannot hold as many values of `size` bytes. Dimensions of length
/// 0 do not count for that limit, since numpy and ndarray refuse such a shape too.
pub(crate) fn count_of(shape: &[usize], size: usize) -> Option<usize> {
    let bytes = shape.iter().filter(|len| **len != 0).try_fold(size, |bytes, len| bytes.checked_mul(*len))?;
    isize::try_from(bytes).ok()?;
    Some(shape.iter().product())
}

/// Length in bytes of the part before the values.
pub(crate) const fn head_len(ndim: usize) -> usize {
    8 + 8 * ndim
}

/// Length in bytes of a tensor of this shape; `usize::MAX` when memory cannot hold the values.
pub(crate) fn tensor_len(shape: &[usize], size: usize) -> usize {
    count_of(shape, size).map_or(usize::MAX, |count| head_len(shape.len()) + count * size)
}

/// Writes the part before the values, which is as long as `out`.
///
/// # Panics
/// When `out` has another length.
pub(crate) fn write_head(shape: &[usize], out: &mut [u8]) {
    assert_eq!(out.len(), head_len(shape.len()));
    let words = core::iter::once(shape.len()).chain(shape.iter().copied());
    for (out, word) in out.chunks_exact_mut(8).zip(words) {
        out.copy_from_slice(&word.to_le_bytes());
    }
}

/// The shape of a tensor, in the first `ndim` elements, and the bytes of its values.
///
/// # Errors
/// [`Malformed`]: the part has another number of dimensions, or the values are not as long as the shape says.
pub(crate) fn open<'a>(
    part: &'a [u8],
    ndim: usize,
    of: Primitive,
    place: &str,
) -> Result<([usize; MAX_NDIM], &'a [u8]), BoxedMalformed> {
    let Some((head, values)) = part.split_at_checked(head_len(ndim)) else {
        return Err(Malformed::tensor(place, ndim, part.len()));
    };
    let mut copy = [0; head_len(MAX_NDIM)];
    let copy = &mut copy[..head.len()];
    copy_once(head, copy);
    let mut words = copy.chunks_exact(8).map(|word| {
        let (word, _) = word.split_first_chunk().expect("8 bytes");
        usize::from_le_bytes(*word)
    });
    // The upper half of the first word is zero.
    let found = words.next().unwrap_or_default();
    if found != ndim {
        return Err(Malformed::ndim(place, ndim, found));
    }
    let mut shape = [0; MAX_NDIM];
    for (len, word) in shape.iter_mut().zip(words) {
        *len = word;
    }
    let count = count_of(&shape[..ndim], of.size());
    if count.is_none_or(|count| count * of.size() != values.len()) {
        return Err(Malformed::shape(place, &shape[..ndim], of, values.len()));
    }
    Ok((shape, values))
}

#[diagnostic::do_not_recommend]
impl<T: Number, const N: usize> Value for Tensor<T, N> {
    type View<'a> = TensorRef<'a, T, N>;
    const TYPE: &'static ValueType = &ValueType::Tensor { of: T::PRIMITIVE, ndim: N };
    const COPIES: bool = false;
    const DEPTH: usize = 1;

    fn read<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<TensorRef<'a, T, N>, BoxedMalformed> {
        const { assert_ndim::<N>() };
        let (shape, values) = open(part, N, T::PRIMITIVE, place)?;
        let shape = *shape.first_chunk().expect("a tensor has at most 8 dimensions");
        if let Some(values) = fixed::cast_slice(values) {
            return Ok(TensorRef { shape, values });
        }
        let held = scratch.hold(values).and_then(fixed::cast_slice);
        let values = held.ok_or_else(|| BoxedMalformed::from(Malformed::Misaligned).at(place))?;
        Ok(TensorRef { shape, values })
    }

    fn len(view: TensorRef<'_, T, N>) -> usize {
        head_len(N) + size_of_val(view.values)
    }

    fn write(view: TensorRef<'_, T, N>, out: &mut [u8]) {
        let (head, values) = out.split_at_mut(head_len(N));
        write_head(&view.shape, head);
        values.copy_from_slice(bytes_of(view.values));
    }

    fn view(&self) -> TensorRef<'_, T, N> {
        TensorRef { shape: self.shape, values: &self.values }
    }

    fn own(view: TensorRef<'_, T, N>) -> Self {
        view.into_owned()
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: TensorRef<'l, T, N>) -> TensorRef<'s, T, N> {
        view
    }

    list_of_variable!();
}

#[diagnostic::do_not_recommend]
impl<'a, T: Number, const N: usize> Argument<'a> for TensorRef<'a, T, N> {
    type Wire = Tensor<T, N>;

    #[inline]
    fn take(view: Self) -> Self {
        view
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Number, const N: usize> Argument<'a> for Tensor<T, N> {
    type Wire = Self;

    fn take(view: TensorRef<'a, T, N>) -> Self {
        view.into_owned()
    }
}

#[diagnostic::do_not_recommend]
impl<'s, T: Number, const N: usize> IntoView<'s, Tensor<T, N>> for TensorRef<'s, T, N> {
    #[inline]
    fn into_view(self) -> <Tensor<T, N> as Value>::View<'s> {
        self
    }

    fn encode_item(self, encoding: ItemEncoding<Tensor<T, N>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self)
    }
}

impl<T: Number, const N: usize> NoOption for Tensor<T, N> {}

#[diagnostic::do_not_recommend]
impl<T: Number, const N: usize> ReplyValue for TensorRef<'_, T, N> {
    type Message = Tensor<T, N>;

    fn view(&self) -> TensorRef<'_, T, N> {
        *self
    }
}
