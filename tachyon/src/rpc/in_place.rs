//! Replies that are lent where they lie.
#![allow(unsafe_code, reason = "keeps a view of a message beside the guard that owns the message")]

use core::fmt;
use core::slice::from_raw_parts;

use super::guard::RpcRxGuard;
use crate::schema::payload::{BoxedMalformed, Message, Scratch};

/// A reply that is lent where it lies. Dropping it releases its room to the callee.
///
/// Texts, lists of them and values with a `bool` or an enum are copied before they are checked; the rest stays in the
/// ring. [`into_owned`](Self::into_owned) takes the value away.
pub struct InPlace<'c, M: Message> {
    /// First: it is of no use once the guard is dropped.
    view: M::View<'c>,
    guard: RpcRxGuard<'c>,
}

impl<'c, M: Message> InPlace<'c, M> {
    /// Reads a received reply.
    ///
    /// # Errors
    /// It is no `M`.
    #[inline]
    pub(super) fn read(guard: RpcRxGuard<'c>, scratch: &mut Scratch<'c>) -> Result<Self, BoxedMalformed> {
        let payload: &[u8] = &guard;
        // SAFETY: the bytes lie in the mapping, or on the heap, of the direction that the guard borrows for 'c. They
        // stay there until the guard is dropped: the view moves with the guard into one struct, is dropped before it,
        // and `get` lends it only while that struct is borrowed.
        let payload: &'c [u8] = unsafe { from_raw_parts(payload.as_ptr(), payload.len()) };
        let view = M::read(payload, scratch, "the reply")?;
        Ok(Self { view, guard })
    }

    /// The reply.
    #[inline]
    pub fn get(&self) -> M::View<'_> {
        M::shrink(self.view)
    }

    /// The reply for good, without its room in the ring.
    pub fn into_owned(self) -> M::Owned {
        M::own(self.get())
    }

    /// The number of the call that this answers.
    pub fn correlation_id(&self) -> u64 {
        self.guard.correlation_id()
    }
}

/// For all views, and by way of [`get`](InPlace::get): one of `View<'c>` alone would see a lifetime that outlasts the
/// reply.
impl<M: Message> fmt::Debug for InPlace<'_, M>
where
    for<'s> M::View<'s>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}
