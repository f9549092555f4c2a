//! Batches and parts: frames that wait for a lane travel in one message, and a long frame travels in several messages,
//! so that it keeps no other frame waiting.

use core::fmt::Display;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::{DecodeError, Message};
use tachyon::{CallError, ErrorKind, RpcError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::wire::{Batch, Body, Failure, Frame};

/// Bytes after which a batch takes no further frame. A longer frame of a call travels in parts.
const FULL: usize = 64 << 10;

/// Bytes of a part.
const PART: usize = 32 << 10;

/// Most frames in parts that are under way in one direction of a lane. Further ones wait for their turn, so the other
/// end knows how much it may have to keep.
const LONG_AT_A_TIME: usize = 4;

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
    payload.len() <= longest(max_message)
}

/// The longest payload that fits a message of a lane.
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

/// A long frame on its way.
struct Long {
    call: u64,
    is_request: bool,
    /// The encoded frame, without the parts that were sent.
    rest: Bytes,
    _place: Option<Place>,
}

impl Long {
    /// The next part, and whether it is the last one.
    fn next(&mut self) -> (Frame, bool) {
        let part = self.rest.split_to(self.rest.len().min(PART));
        let is_last = self.rest.is_empty();
        (Frame::new(self.call, if is_last { Body::LastPart(part) } else { Body::Part(part) }), is_last)
    }
}

/// Sends the frames of a queue until the queue or the lane ends, or `may_send` refuses a message. `may_send` sees the
/// calls whose requests are complete with a message, just before the carrier gets it.
pub(crate) async fn send_all(
    mut queue: mpsc::UnboundedReceiver<Queued>,
    lane: mpsc::Sender<Bytes>,
    max_message: usize,
    mut may_send: impl FnMut(&[u64]) -> bool,
) {
    let (mut waiting, mut frames, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let mut long = VecDeque::<Long>::new();
    loop {
        if long.is_empty() {
            let count = tokio::select! {
                count = queue.recv_many(&mut waiting, MOST) => count,
                () = lane.closed() => return,
            };
            if count == 0 {
                return;
            }
        } else {
            waiting.extend(core::iter::from_fn(|| queue.try_recv().ok()).take(MOST));
        }
        let mut places = Vec::new();
        for (frame, place) in waiting.drain(..) {
            if matches!(frame.body, Some(Body::Cancel(_))) {
                long.retain(|long| long.call != frame.call);
            }
            if frame.encoded_len() > FULL {
                let (call, is_request) = (frame.call, frame.is_request());
                long.push_back(Long { call, is_request, rest: frame.encode_to_vec().into(), _place: place });
            } else {
                frames.push(frame);
                places.push(place);
            }
        }
        for batch in split(&mut frames, max_message) {
            requests.clear();
            requests.extend(batch.iter().filter(|frame| frame.is_request()).map(|frame| frame.call));
            if !may_send(&requests) || lane.send(message(batch)).await.is_err() {
                return;
            }
        }
        drop(places);
        // The first ones take turns.
        if let Some(mut first) = long.pop_front() {
            let (part, is_last) = first.next();
            let request = (is_last && first.is_request).then_some(first.call);
            if !may_send(request.as_slice()) || lane.send(message(vec![part])).await.is_err() {
                return;
            }
            if !is_last {
                long.insert(long.len().min(LONG_AT_A_TIME - 1), first);
            }
        }
    }
}

/// The parts of long frames that have arrived.
pub(crate) struct Parts {
    max_message: usize,
    begun: HashMap<u64, BytesMut>,
}

/// The other end breaks the rules for parts.
#[derive(Debug, Error)]
pub(crate) enum BadParts {
    #[error("too many long messages at a time")]
    TooMany,
    #[error("a message in parts is longer than {0} bytes")]
    TooLong(usize),
    #[error("a message in parts is that of another call")]
    OtherCall,
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl Parts {
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, begun: HashMap::new() }
    }

    /// Takes a frame that has arrived, and gives it back if it is whole, or completes another one.
    pub(crate) fn take(&mut self, frame: Frame) -> Result<Option<Frame>, BadParts> {
        let (part, is_last) = match frame.body {
            Some(Body::Part(part)) => (part, false),
            Some(Body::LastPart(part)) => (part, true),
            _ => return Ok(Some(frame)),
        };
        if self.begun.len() == LONG_AT_A_TIME && !self.begun.contains_key(&frame.call) {
            return Err(BadParts::TooMany);
        }
        let arrived = self.begun.entry(frame.call).or_default();
        if arrived.len() + part.len() > self.max_message {
            return Err(BadParts::TooLong(self.max_message));
        }
        arrived.extend_from_slice(&part);
        if !is_last {
            return Ok(None);
        }
        let arrived = self.begun.remove(&frame.call).unwrap_or_default();
        let whole = Frame::decode(arrived.freeze())?;
        if whole.call == frame.call { Ok(Some(whole)) } else { Err(BadParts::OtherCall) }
    }

    /// Drops the parts of a call that was given up.
    pub(crate) fn forget(&mut self, call: u64) {
        self.begun.remove(&call);
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

#[cfg(test)]
mod tests;
