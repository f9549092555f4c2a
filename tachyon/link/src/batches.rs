//! Batches: frames that wait for a lane travel in one message.

use core::fmt::Display;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tachyon::{CallError, ErrorKind, RpcError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::wire::{Batch, Body, Failure, Frame};

/// Bytes after which a batch takes no further frame.
const FULL: usize = 64 << 10;

/// Bytes before each frame of a batch, at most: the number of its field, and its length.
const PREFIX: usize = 6;

/// Most frames of a batch.
const MOST: usize = 256;

/// Most items of a stream in one message.
pub(crate) const MOST_ITEMS: usize = 64;

/// Bytes that a frame takes besides its payload: numbers, lengths and metadata.
const HEAD: usize = 8 << 10;

/// A place of a call in flight. It is free again when its last clone is gone.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// A frame, and the place of its call until the carrier has the frame.
pub(crate) type Queued = (Frame, Option<Place>);

/// Frames on their way to a lane. The number of places bounds the queue: each frame has one, or belongs to a call that
/// has had one.
pub(crate) type FrameQueue = mpsc::UnboundedSender<Queued>;

/// The message of some frames.
pub(crate) fn message(frames: Vec<Frame>) -> Bytes {
    Batch { frames }.encode_to_vec().into()
}

/// The message of one frame without a call, as lanes of streams have them.
pub(crate) fn single(body: Body) -> Bytes {
    message(vec![Frame::new(0, body)])
}

/// Whether a payload fits a message of a lane.
pub(crate) fn fits(payload: &[u8], max_message: usize) -> bool {
    payload.len() <= max_message.saturating_sub(HEAD)
}

/// The longest payload that fits a message of a lane, for the texts of errors.
fn longest(max_message: usize) -> usize {
    max_message.saturating_sub(HEAD)
}

/// The output of a future if it is ready. The future loses nothing when it is dropped.
pub(crate) async fn if_ready<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The longest message that both ends take: this end's limit, and that of the other end, if it has told one.
pub(crate) fn smaller(own: usize, others: u64) -> usize {
    if others == 0 { own } else { usize::try_from(others).map_or(own, |others| own.min(others)) }
}

/// Sends the frames of a queue until the queue or the lane ends, or `may_send` refuses a batch. `may_send` sees each
/// batch just before the carrier gets it.
pub(crate) async fn send_all(
    mut queue: mpsc::UnboundedReceiver<Queued>,
    lane: mpsc::Sender<Bytes>,
    max_message: usize,
    mut may_send: impl FnMut(&[Frame]) -> bool,
) {
    let mut waiting = Vec::new();
    loop {
        let count = tokio::select! {
            count = queue.recv_many(&mut waiting, MOST) => count,
            () = lane.closed() => return,
        };
        if count == 0 {
            return;
        }
        let (mut frames, _places): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        for batch in split(&mut frames, max_message) {
            if !may_send(&batch) || lane.send(message(batch)).await.is_err() {
                return;
            }
        }
    }
}

/// Takes frames out in batches, none of which is longer than [`FULL`] and the lane's longest message, or than its only
/// frame.
pub(crate) fn split(waiting: &mut Vec<Frame>, max_message: usize) -> impl Iterator<Item = Vec<Frame>> + '_ {
    let full = FULL.min(max_message);
    let mut frames = waiting.drain(..).peekable();
    core::iter::from_fn(move || {
        let mut batch = vec![frames.next()?];
        let mut size = batch[0].encoded_len();
        while let Some(frame) = frames.next_if(|frame| size + frame.encoded_len() + 2 * PREFIX <= full) {
            size += frame.encoded_len() + PREFIX;
            batch.push(frame);
        }
        Some(batch)
    })
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Display) -> Self {
        Self { kind: kind as u32, text: text.to_string(), ..Self::default() }
    }

    /// The failure for a message of `size` bytes that is too long for a lane.
    pub(crate) fn too_long(what: &str, size: usize, max_message: usize, kind: ErrorKind) -> Self {
        let max = longest(max_message);
        let hint = "raise `max_message` at both ends";
        Self::new(kind, format_args!("the {what} of {size} bytes is longer than the link takes ({max}); {hint}"))
    }

    /// The failure of a call of the callee, without its text if texts may not travel.
    pub(crate) fn of(error: CallError, texts: bool) -> Self {
        let mut failure = match error {
            CallError::Remote(error) => Self {
                kind: error.kind as u32,
                fields: Bytes::copy_from_slice(error.fields()),
                name: error.name,
                text: error.text,
            },
            error => {
                let text = error.to_string();
                Self::new(tachyon::HandlerError::passed_on(error).kind(), text)
            }
        };
        if !texts {
            failure.text.clear();
        }
        failure
    }

    /// The failure, if it fits a message of a lane, or else its kind alone.
    pub(crate) fn fitting(self, max_message: usize) -> Self {
        let size = self.encoded_len();
        if size <= longest(max_message) {
            return self;
        }
        let text = format!("the error of {size} bytes is longer than the link takes; raise `max_message` at both ends");
        Self { kind: self.kind, text, ..Self::default() }
    }

    /// The error that the caller gets.
    pub(crate) fn into_error(self, msg_type: u16) -> tachyon::HandlerError {
        let kind = ErrorKind::from_number(u16::try_from(self.kind).unwrap_or(u16::MAX));
        let error = RpcError::new(kind, msg_type, self.text, self.name, &self.fields);
        tachyon::HandlerError::passed_on(CallError::Remote(error))
    }
}
