//! A batch of received messages.

use core::ops::Deref;

use super::message::Message;
use crate::connection::{Halt, Rx, slice};
use crate::ring::Frame;
use crate::wait::Deadline;

/// Received messages, in place. Dropping the batch releases all of them with one store.
///
/// ```
/// # fn demo(receiver: &mut tachyon::Receiver) -> Result<(), tachyon::RecvError> {
/// let batch = receiver.recv_batch(64)?;
/// for message in &batch {
///     println!("{} bytes of type {}", message.len(), message.type_id());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the batch releases the messages"]
pub struct RxBatchGuard<'a> {
    rx: &'a mut Rx,
    frames: Vec<Frame>,
}

impl<'a> RxBatchGuard<'a> {
    pub(super) fn take(rx: &'a mut Rx, max: usize, deadline: Deadline) -> Result<Self, Halt> {
        let frames = rx.take_current_batch(max, deadline)?;
        Ok(Self { rx, frames })
    }

    /// The number of messages, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// The message at `index`, in the order of sending; `None` beyond the last message.
    pub fn get(&self, index: usize) -> Option<RxMsgView<'_>> {
        self.frames.get(index).map(|frame| RxMsgView { rx: self.rx, frame })
    }

    /// The messages in the order of sending.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rx: self.rx, frames: self.frames.iter() }
    }
}

impl Drop for RxBatchGuard<'_> {
    fn drop(&mut self) {
        self.rx.release_current();
    }
}

impl<'b> IntoIterator for &'b RxBatchGuard<'_> {
    type Item = RxMsgView<'b>;
    type IntoIter = Iter<'b>;

    fn into_iter(self) -> Iter<'b> {
        self.iter()
    }
}

/// An iterator over a batch.
#[derive(Debug, Clone)]
pub struct Iter<'b> {
    rx: &'b Rx,
    frames: core::slice::Iter<'b, Frame>,
}

impl<'b> Iterator for Iter<'b> {
    type Item = RxMsgView<'b>;

    fn next(&mut self) -> Option<RxMsgView<'b>> {
        self.frames.next().map(|frame| RxMsgView { rx: self.rx, frame })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// One message of a batch, in place. Dereferences to the payload.
#[derive(Debug, Clone, Copy)]
pub struct RxMsgView<'b> {
    rx: &'b Rx,
    frame: &'b Frame,
}

impl RxMsgView<'_> {
    /// The message's type id, which the sender chose.
    pub fn type_id(&self) -> u32 {
        self.frame.type_id
    }

    /// A copy that outlives the batch.
    pub fn to_message(&self) -> Message {
        Message { type_id: self.frame.type_id, data: self.to_vec() }
    }
}

impl Deref for RxMsgView<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        slice::payload(self.frame, self.rx)
    }
}
