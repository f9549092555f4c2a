//! Reply slots: an endpoint writes its reply in place, where the caller reads it.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut, Index, IndexMut};

use super::error::{HandlerError, SlotError};
use super::into_reply::ConvertError;
use super::reply::{HandlerResult, Replied, Reply, ReplyBuffer};
use crate::engine::ErrorKind;
use crate::schema::payload::tensor::{head_len, place_of, tensor_len, write_head};
use crate::schema::payload::{
    Fixed, IntoView, Message, Number, ReplyValue, Tensor, Undeclared, Value, cast_slice_mut, check_slice,
};

/// A type that a reply slot holds: a value, or a slice of fixed payloads.
#[diagnostic::on_unimplemented(
    message = "a reply slot cannot hold `{Self}`",
    label = "not a type that travels",
    note = "`ReplySlot<'_>` holds bytes, `ReplySlot<'_, T>` one value, `ReplySlot<'_, [T]>` several fixed payloads"
)]
pub trait SlotOf {
    /// The message that travels.
    type Message: Value;
}

#[diagnostic::do_not_recommend]
impl<T: Value> SlotOf for T {
    type Message = T;
}

#[diagnostic::do_not_recommend]
impl<T: Fixed> SlotOf for [T] {
    type Message = Vec<T>;
}

/// The reply slot of one request: the last parameter of an endpoint that writes its reply in place, without a buffer.
///
/// `W` is the type of the reply: `ReplySlot<'_>` holds bytes, `ReplySlot<'_, T>` one value, `ReplySlot<'_, [T]>` a
/// slice. Dropping a slot without an answer sends the caller an error reply of kind
/// [`BadReply`](crate::ErrorKind::BadReply).
///
/// ```
/// use tachyon::tachyon_rpc;
/// use tachyon::dispatch::{ReplySlot, SlotError};
///
/// /// The squares of 1 to `count`.
/// #[tachyon_rpc(msg_type = 1)]
/// fn squares(count: &u64, reply: ReplySlot<'_, [u64]>) -> Result<(), SlotError> {
///     let mut squares = reply.reserve(*count as usize)?;
///     for (number, square) in (1..).zip(squares.iter_mut()) {
///         *square = number * number;
///     }
///     squares.commit();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "a slot without an answer is an error reply"]
pub struct ReplySlot<'a, W: ?Sized = [u8]> {
    reply: Reply<'a>,
    outcome: &'a mut Outcome,
    wire: PhantomData<fn(&W)>,
}

#[derive(Debug, Default)]
enum Outcome {
    #[default]
    Unanswered,
    Answered(Replied),
    Failed(HandlerError),
}

impl<'a, W: SlotOf + ?Sized> ReplySlot<'a, W> {
    /// Replies with a copy of `value`: a reference to a value, or its view, such as `&str` for a `String`.
    ///
    /// # Errors
    /// [`SlotError`]: the reply can never fit the ring, or the caller closed or died.
    pub fn write<'v>(self, value: impl IntoView<'v, W::Message>) -> Result<(), SlotError> {
        match self.reply.value(&Passed::<W::Message>(value.into_view())) {
            Ok(replied) => {
                *self.outcome = Outcome::Answered(replied);
                Ok(())
            }
            Err(error) => Err(note(self.outcome, error)),
        }
    }

    fn buffer(self, len: usize) -> Result<(ReplyBuffer<'a>, &'a mut Outcome), SlotError> {
        match self.reply.reserve(len) {
            Ok(buffer) => Ok((buffer, self.outcome)),
            Err(error) => Err(note(self.outcome, error)),
        }
    }
}

/// A view as a value to reply with.
struct Passed<'v, T: Value>(T::View<'v>);

impl<T: Value> ReplyValue for Passed<'_, T> {
    type Message = T;

    fn view(&self) -> <T as Message>::View<'_> {
        <T as Value>::shrink(self.0)
    }
}

fn note(outcome: &mut Outcome, error: HandlerError) -> SlotError {
    let slot_error = error.slot_error();
    *outcome = Outcome::Failed(error);
    slot_error
}

impl<'a, T: Fixed> ReplySlot<'a, T> {
    /// Takes room for one value, waiting for it. The value holds old data at first, or zeros if the type does not
    /// accept all bytes.
    ///
    /// # Errors
    /// [`SlotError`]: the reply can never fit the ring, zeros are no value of the type, or the caller closed or died.
    pub fn reserve(self) -> Result<ReplyRoom<'a, T>, SlotError> {
        let (mut buffer, outcome) = self.buffer(size_of::<T>())?;
        if const { !T::LAYOUT.accepts_any_bytes() } {
            buffer = buffer.into_private();
            check_slice::<T>(&buffer).map_err(|_| SlotError::NoZero)?;
        }
        Ok(ReplyRoom { buffer, outcome, wire: PhantomData })
    }
}

impl<'a, T: Fixed> ReplySlot<'a, [T]> {
    /// Takes room for `len` values, waiting for it. The values hold old data at first, or zeros if the type does not
    /// accept all bytes.
    ///
    /// # Errors
    /// [`SlotError`]: the reply can never fit the ring, zeros are no value of the type, or the caller closed or died.
    pub fn reserve(self, len: usize) -> Result<ReplyRoom<'a, [T]>, SlotError> {
        // Saturating: no ring is that large, so `reserve` gives the right error.
        let (mut buffer, outcome) = self.buffer(len.saturating_mul(size_of::<T>()))?;
        if const { !T::LAYOUT.accepts_any_bytes() } {
            buffer = buffer.into_private();
            check_slice::<T>(&buffer).map_err(|_| SlotError::NoZero)?;
        }
        Ok(ReplyRoom { buffer, outcome, wire: PhantomData })
    }
}

impl<'a, T: Number, const N: usize> ReplySlot<'a, Tensor<T, N>> {
    /// Takes room for a tensor of this shape, waiting for it. The values are old data at first.
    ///
    /// ```
    /// use tachyon::dispatch::{ReplySlot, SlotError};
    /// use tachyon::{Tensor, TensorRef, tachyon_rpc};
    ///
    /// /// The image with rows as columns.
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn transpose(image: TensorRef<'_, f32, 2>, reply: ReplySlot<'_, Tensor<f32, 2>>) -> Result<(), SlotError> {
    ///     let [height, width] = image.shape();
    ///     let mut turned = reply.reserve([width, height])?;
    ///     for row in 0..height {
    ///         for column in 0..width {
    ///             turned[[column, row]] = image[[row, column]];
    ///         }
    ///     }
    ///     turned.commit();
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SlotError`]: the reply can never fit the ring, or the caller closed or died.
    pub fn reserve(self, shape: [usize; N]) -> Result<TensorRoom<'a, T, N>, SlotError> {
        let (mut buffer, outcome) = self.buffer(tensor_len(&shape, size_of::<T>()))?;
        write_head(&shape, &mut buffer[..head_len(N)]);
        Ok(TensorRoom { room: ReplyRoom { buffer, outcome, wire: PhantomData }, shape })
    }
}

/// Room for a tensor in the ring, from [`ReplySlot::reserve`]. Dereferences to the values in C order; an index of each
/// dimension finds one value. [`commit`](Self::commit) sends the reply; dropping the room sends an error reply.
#[derive(Debug)]
#[must_use = "a reply is not sent without `commit`"]
pub struct TensorRoom<'a, T, const N: usize> {
    room: ReplyRoom<'a, Tensor<T, N>>,
    shape: [usize; N],
}

impl<T: Number, const N: usize> TensorRoom<'_, T, N> {
    /// Sends the reply.
    pub fn commit(self) {
        self.room.commit();
    }

    /// The length of each dimension.
    pub fn shape(&self) -> [usize; N] {
        self.shape
    }
}

#[cfg(feature = "ndarray")]
impl<T: Number, const N: usize> TensorRoom<'_, T, N>
where
    [usize; N]: ndarray::IntoDimension<Dim = ndarray::Dim<[usize; N]>>,
    ndarray::Dim<[usize; N]>: ndarray::Dimension,
{
    /// The reply as an array, to write its values. Needs the cargo feature `ndarray`.
    ///
    /// # Panics
    /// Never.
    pub fn array_mut(&mut self) -> ndarray::ArrayViewMut<'_, T, ndarray::Dim<[usize; N]>> {
        let shape = self.shape;
        ndarray::ArrayViewMut::from_shape(shape, self).expect("a reply has room for each index of its shape")
    }
}

impl<T: Number, const N: usize> Deref for TensorRoom<'_, T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Ok(values) = check_slice(&self.room.buffer[head_len(N)..]) else { unreachable!("{CHECKED}") };
        values
    }
}

impl<T: Number, const N: usize> DerefMut for TensorRoom<'_, T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        let Some(values) = cast_slice_mut(&mut self.room.buffer[head_len(N)..]) else { unreachable!("{CHECKED}") };
        values
    }
}

/// The value at an index of each dimension.
///
/// # Panics
/// When an index is not less than the length of its dimension.
impl<T: Number, const N: usize> Index<[usize; N]> for TensorRoom<'_, T, N> {
    type Output = T;

    fn index(&self, index: [usize; N]) -> &T {
        &(**self)[place_of(self.shape, index)]
    }
}

impl<T: Number, const N: usize> IndexMut<[usize; N]> for TensorRoom<'_, T, N> {
    fn index_mut(&mut self, index: [usize; N]) -> &mut T {
        let place = place_of(self.shape, index);
        &mut (**self)[place]
    }
}

/// Room for one reply in the ring, from [`ReplySlot::reserve`]. Dereferences to the value, or to the slice of values.
/// [`commit`](Self::commit) sends the reply; dropping the room sends an error reply.
#[derive(Debug)]
#[must_use = "a reply is not sent without `commit`"]
pub struct ReplyRoom<'a, W: ?Sized> {
    buffer: ReplyBuffer<'a>,
    outcome: &'a mut Outcome,
    wire: PhantomData<fn(&W)>,
}

impl<W: ?Sized> ReplyRoom<'_, W> {
    /// Sends the reply.
    pub fn commit(self) {
        let len = self.buffer.len();
        *self.outcome = Outcome::Answered(self.buffer.commit(len));
    }
}

impl<T: Fixed> ReplyRoom<'_, [T]> {
    /// Sends the first `len` values of the reply.
    ///
    /// # Panics
    /// When the room has fewer values.
    pub fn commit_first(self, len: usize) {
        let bytes = len.saturating_mul(size_of::<T>());
        assert!(bytes <= self.buffer.len(), "cannot send {len} values of {}", self.len());
        *self.outcome = Outcome::Answered(self.buffer.commit(bytes));
    }
}

/// The values of a buffer that `reserve` checked.
fn values<'r, T: Fixed>(buffer: &'r ReplyBuffer<'_>) -> &'r [T] {
    let Ok(values) = check_slice(buffer) else { unreachable!("{CHECKED}") };
    values
}

/// As [`values`], mutable.
fn values_mut<'r, T: Fixed>(buffer: &'r mut ReplyBuffer<'_>) -> &'r mut [T] {
    let Some(values) = cast_slice_mut(buffer) else { unreachable!("{CHECKED}") };
    values
}

const CHECKED: &str =
    "a buffer is valid when it is reserved, its caller cannot reach it, and it receives only values of the type";

impl<T: Fixed> Deref for ReplyRoom<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &values(&self.buffer)[0]
    }
}

impl<T: Fixed> DerefMut for ReplyRoom<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut values_mut(&mut self.buffer)[0]
    }
}

impl<T: Fixed> Deref for ReplyRoom<'_, [T]> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        values(&self.buffer)
    }
}

impl<T: Fixed> DerefMut for ReplyRoom<'_, [T]> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        values_mut(&mut self.buffer)
    }
}

/// A return type of an endpoint with a reply slot: nothing, or a `Result` of nothing.
#[diagnostic::on_unimplemented(
    message = "an endpoint with a reply slot cannot return `{Self}`",
    label = "the reply goes into the slot",
    note = "it returns nothing, or a `Result<(), E>`"
)]
pub trait SlotResult {
    /// The error of a `Result`; otherwise [`Undeclared`].
    type Error;

    /// The error, if there is one.
    #[doc(hidden)]
    fn failure(self) -> Option<Self::Error>;
}

#[diagnostic::do_not_recommend]
impl SlotResult for () {
    type Error = Undeclared;

    fn failure(self) -> Option<Undeclared> {
        None
    }
}

impl<E> SlotResult for Result<(), E> {
    type Error = E;

    fn failure(self) -> Option<E> {
        self.err()
    }
}

/// Runs a handler with its slot, and turns both outcomes into one.
pub(crate) fn answer_in_slot<W: ?Sized, H: ConvertError<R::Error>, R: SlotResult>(
    reply: Reply<'_>,
    handler: impl FnOnce(ReplySlot<'_, W>) -> R,
) -> HandlerResult {
    let mut outcome = Outcome::Unanswered;
    let failure = handler(ReplySlot { reply, outcome: &mut outcome, wire: PhantomData }).failure();
    match (outcome, failure) {
        (Outcome::Failed(error), _) => Err(error),
        (_, Some(error)) => Err(H::error(error)),
        (Outcome::Answered(replied), None) => Ok(replied),
        (Outcome::Unanswered, None) => {
            Err(HandlerError::new(ErrorKind::BadReply, "dropped its reply slot without answering"))
        }
    }
}
