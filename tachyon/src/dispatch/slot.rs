//! Reply slots: replies that an endpoint writes where its caller reads them.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use thiserror::Error;

use super::handler::{HandlerError, Replied, Reply, ReplyRoom};
use super::into_reply::Pick;
use crate::engine::ErrorKind;
use crate::schema::payload::{Fixed, IntoView, Message, ReplyValue, Undeclared, Value, cast_slice_mut, check_slice};

/// What a reply slot is for: a value, or a slice of fixed payloads.
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

/// The reply slot of one request: a last parameter of an endpoint that writes its reply in place, without a buffer in
/// between.
///
/// `W` is what the endpoint replies with: `ReplySlot<'_>` bytes, `ReplySlot<'_, T>` one value, `ReplySlot<'_, [T]>` a
/// slice. A slot that is dropped unanswered is an error reply.
///
/// ```
/// use tachyon::tachyon_rpc;
/// use tachyon::dispatch::{ReplySlot, SlotError};
///
/// /// The first squares.
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
#[must_use = "a slot that is not answered is an error reply"]
pub struct ReplySlot<'a, W: ?Sized = [u8]> {
    reply: Reply<'a>,
    outcome: &'a mut Outcome,
    wire: PhantomData<fn(&W)>,
}

/// What became of a slot.
#[derive(Debug, Default)]
enum Outcome {
    #[default]
    Unanswered,
    Answered(Replied),
    Failed(HandlerError),
}

/// Why there is no room for a reply. The caller is told; the handler has nothing more to do than to return.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SlotError {
    /// It can never fit.
    #[error("the reply of {size} bytes can never fit the reverse ring of {max}; listen with a larger one")]
    TooLarge {
        /// Bytes asked for.
        size: usize,
        /// Bytes the ring holds.
        max: usize,
    },
    /// The type has no value whose bytes are all zero.
    #[error("a reply with a `bool` or an enum in it begins as zeros, and those are no value of its type; use `write`")]
    NoZero,
    /// The caller is gone.
    #[error("the connection ended before the reply was written")]
    Gone,
}

impl<'a, W: SlotOf + ?Sized> ReplySlot<'a, W> {
    /// Answers with a copy of `value`: a reference to it, or what a handler would be lent of it.
    ///
    /// # Errors
    /// [`SlotError`]: it can never fit, or the caller is gone.
    pub fn write<'v>(self, value: impl IntoView<'v, W::Message>) -> Result<(), SlotError> {
        match self.reply.value(&Passed::<W::Message>(value.into_view())) {
            Ok(replied) => {
                *self.outcome = Outcome::Answered(replied);
                Ok(())
            }
            Err(error) => Err(note(self.outcome, error)),
        }
    }

    fn room(self, len: usize) -> Result<(ReplyRoom<'a>, &'a mut Outcome), SlotError> {
        match self.reply.reserve(len) {
            Ok(room) => Ok((room, self.outcome)),
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
    let told = error.slot_error();
    *outcome = Outcome::Failed(error);
    told
}

impl<'a, T: Fixed> ReplySlot<'a, T> {
    /// Takes room for the reply, to be filled in. It holds whatever was there before; zeros if not all bytes are a
    /// value of the type.
    ///
    /// # Errors
    /// [`SlotError`]: it can never fit, zeros are no value of the type, or the caller is gone.
    pub fn reserve(self) -> Result<ReplyInPlace<'a, T>, SlotError> {
        let (mut room, outcome) = self.room(size_of::<T>())?;
        if const { !T::LAYOUT.accepts_any_bytes() } {
            room = room.kept_apart();
            check_slice::<T>(&room).map_err(|_| SlotError::NoZero)?;
        }
        Ok(ReplyInPlace { room, outcome, wire: PhantomData })
    }
}

impl<'a, T: Fixed> ReplySlot<'a, [T]> {
    /// Takes room for a reply of `len` values, to be filled in. They hold whatever was there before; zeros if not all
    /// bytes are a value of the type.
    ///
    /// # Errors
    /// [`SlotError`]: they can never fit, zeros are no value of the type, or the caller is gone.
    pub fn reserve(self, len: usize) -> Result<ReplyInPlace<'a, [T]>, SlotError> {
        // Saturating: no ring is that large, so the error is the right one.
        let (mut room, outcome) = self.room(len.saturating_mul(size_of::<T>()))?;
        if const { !T::LAYOUT.accepts_any_bytes() } {
            room = room.kept_apart();
            check_slice::<T>(&room).map_err(|_| SlotError::NoZero)?;
        }
        Ok(ReplyInPlace { room, outcome, wire: PhantomData })
    }
}

/// A reply under construction, in the ring. Derefs to its value; [`commit`](Self::commit) sends it, dropping it sends
/// nothing.
#[derive(Debug)]
#[must_use = "a reply that is not committed is not sent"]
pub struct ReplyInPlace<'a, W: ?Sized> {
    room: ReplyRoom<'a>,
    outcome: &'a mut Outcome,
    wire: PhantomData<fn(&W)>,
}

impl<W: ?Sized> ReplyInPlace<'_, W> {
    /// Sends the reply.
    pub fn commit(self) {
        let len = self.room.len();
        *self.outcome = Outcome::Answered(self.room.commit(len));
    }
}

impl<T: Fixed> ReplyInPlace<'_, [T]> {
    /// Sends the first `len` values of the reply.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn commit_first(self, len: usize) {
        let bytes = len.saturating_mul(size_of::<T>());
        assert!(bytes <= self.room.len(), "cannot send {len} values of {}", self.len());
        *self.outcome = Outcome::Answered(self.room.commit(bytes));
    }
}

/// The values of a room that was checked when it was reserved.
fn values<'r, T: Fixed>(room: &'r ReplyRoom<'_>) -> &'r [T] {
    let Ok(values) = check_slice(room) else { unreachable!("{CHECKED}") };
    values
}

/// As [`values`], to be changed.
fn values_mut<'r, T: Fixed>(room: &'r mut ReplyRoom<'_>) -> &'r mut [T] {
    let Some(values) = cast_slice_mut(room) else { unreachable!("{CHECKED}") };
    values
}

const CHECKED: &str =
    "a room is valid when it is reserved, its caller cannot reach it, and only values of the type are written to it";

impl<T: Fixed> Deref for ReplyInPlace<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &values(&self.room)[0]
    }
}

impl<T: Fixed> DerefMut for ReplyInPlace<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut values_mut(&mut self.room)[0]
    }
}

impl<T: Fixed> Deref for ReplyInPlace<'_, [T]> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        values(&self.room)
    }
}

impl<T: Fixed> DerefMut for ReplyInPlace<'_, [T]> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        values_mut(&mut self.room)
    }
}

/// What an endpoint with a reply slot may return: nothing, or a `Result` of nothing.
#[diagnostic::on_unimplemented(
    message = "an endpoint with a reply slot cannot return `{Self}`",
    label = "the reply goes into the slot",
    note = "it returns nothing, or a `Result<(), E>`"
)]
pub trait SlotResult {
    /// The error, of a `Result`.
    type Error;

    /// What went wrong, if anything.
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

/// Lends a handler the slot and sees what became of it.
pub(crate) fn answer_in_slot<W: ?Sized, H: Pick<R::Error>, R: SlotResult>(
    reply: Reply<'_>,
    handler: impl FnOnce(ReplySlot<'_, W>) -> R,
) -> Result<Replied, HandlerError> {
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
