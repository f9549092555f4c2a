//! Steps of the streams of a calling end, as [`CallerSteps`](super::CallerSteps) has them for its calls.

use super::attempts::look;
use super::calling::{Limit, ReplyTaken, RequestRoom};
use super::{Room, Taking};
use crate::connection::Halt;
use crate::engine::{Arrived, Outcome, is_item};
use crate::metadata::METADATA;
use crate::ring::{CELLS, MessageHeader, Reservation};
use crate::rpc::{CallError, Caller, StreamMessage};
use crate::schema::describe::EndpointDescription;
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_END, ROUTE_ITEM, make_type_id, msg_type};
use crate::wait::Deadline;

pub use crate::engine::ItemSent;

/// The next message of a stream.
#[derive(Debug)]
pub enum StreamTaken {
    /// An item.
    Item(ReplyTaken),
    /// No further item comes. The stream is forgotten, unless it ends in a reply.
    End,
    /// An error reply ended the stream, which is forgotten.
    Error(ReplyTaken),
}

/// Steps of the streams of a calling end.
pub trait StreamSteps {
    /// Sends an OPEN if there is room, and a stream that was given up has no last message on its way. Returns its
    /// correlation id; `None` means: wait. Parameters are those of
    /// [`try_call`](super::CallerSteps::try_call). The callee may send `window` items ahead.
    ///
    /// # Errors
    /// As [`Caller::open`].
    fn try_open(
        &mut self,
        type_id: u32,
        payload: &[u8],
        limit: Limit,
        window: Option<u32>,
    ) -> Result<Option<u64>, CallError>;
    /// Whether there is a place for another stream. False while the last message of a stream that was given up is on
    /// its way.
    ///
    /// # Errors
    /// [`CallError::TooManyStreams`].
    fn has_place(&self) -> Result<bool, CallError>;
    /// Takes room for an OPEN. Parameters are those of [`wait_to_call`](super::CallerSteps::wait_to_call).
    ///
    /// # Errors
    /// As [`Caller::open`]; [`CallError::Mismatch`] when the two contracts differ.
    fn wait_to_open(
        &mut self,
        type_id: u32,
        size: usize,
        limit: Limit,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<RequestRoom, CallError>;
    /// Sends an OPEN with `payload`, which has the size of the room, and returns the correlation id.
    ///
    /// # Errors
    /// As [`Caller::open`].
    fn open_in(
        &mut self,
        room: RequestRoom,
        type_id: u32,
        payload: &[u8],
        limit: Limit,
        window: Option<u32>,
    ) -> Result<u64, CallError>;
    /// Takes the next message of a stream if one of `looks` looks finds it.
    ///
    /// # Errors
    /// As [`Caller::next_item`].
    fn look_for_item(&mut self, id: u64, looks: u32) -> Result<Option<StreamTaken>, CallError>;
    /// Takes the next message of a stream, waiting for it until `limit`.
    ///
    /// # Errors
    /// As [`Caller::next_item_timeout`].
    fn take_item(&mut self, id: u64, limit: Limit) -> Result<StreamTaken, CallError>;
    /// Takes the next message of a stream that [`next_reply`](super::CallerSteps::next_reply) or another wait has
    /// filed. `None` grants the callee all credit that there is.
    ///
    /// # Errors
    /// As [`Caller::next_item`].
    fn take_filed(&mut self, id: u64) -> Result<Option<StreamTaken>, CallError>;
    /// As [`take_filed`](Self::take_filed), for the last message of a stream. Items before it are dropped.
    ///
    /// # Errors
    /// As [`Caller::next_item`].
    fn take_filed_last(&mut self, id: u64) -> Result<Option<ReplyTaken>, CallError>;
    /// Takes the last message of a stream, waiting for it until `limit`. Items before it are dropped.
    ///
    /// # Errors
    /// As [`Caller::finish`].
    fn take_last(&mut self, id: u64, limit: Limit) -> Result<ReplyTaken, CallError>;
    /// Streams that got messages since the last question, for a driver that does not wait in place.
    fn take_news(&mut self) -> Vec<u64>;
    /// Sends an item, or END for `None`, if there are credit and room.
    ///
    /// # Errors
    /// As [`Caller::send_item`].
    fn try_send_item(&mut self, id: u64, item: Option<&[u8]>) -> Result<ItemSent, CallError>;
    /// Takes room and credit for an item of `len` bytes, or room for END, waiting for it until `limit`. `None` when the
    /// stream has ended.
    ///
    /// # Errors
    /// As [`Caller::send_item`].
    fn wait_to_send(&mut self, id: u64, len: Option<usize>, limit: Limit) -> Result<Option<Room>, CallError>;
    /// Sends an item, which has the size of the room, or END.
    ///
    /// # Errors
    /// [`CallError::Forked`] in a forked child.
    fn send_in(&mut self, id: u64, room: Room, item: Option<&[u8]>) -> Result<(), CallError>;
    /// Whether a stream has not ended, or has an outcome to take.
    fn is_stream(&mut self, id: u64) -> bool;
    /// Whether the next item of a stream waits for credit, and not for room. [`take_credited`](Self::take_credited)
    /// reports the end of the wait.
    ///
    /// # Errors
    /// [`CallError::FatalError`]: a credit that no correct callee grants.
    fn lacks_credit(&mut self, id: u64) -> Result<bool, CallError>;
    /// Streams whose next item waited for credit, and waits no more.
    fn take_credited(&mut self) -> Vec<u64>;
}

impl StreamSteps for Caller {
    fn try_open(
        &mut self,
        type_id: u32,
        payload: &[u8],
        limit: Limit,
        window: Option<u32>,
    ) -> Result<Option<u64>, CallError> {
        // Cancellations go first, as before a call.
        if !self.core.flush_cancellations()? || !self.core.has_cell()? {
            return Ok(None);
        }
        let Some(reservation) = self.core.tx.try_reserve(payload.len())? else { return Ok(None) };
        open(self, reservation, type_id, payload, limit, window).map(Some)
    }

    fn has_place(&self) -> Result<bool, CallError> {
        Ok(self.core.has_cell()?)
    }

    fn wait_to_open(
        &mut self,
        type_id: u32,
        size: usize,
        limit: Limit,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<RequestRoom, CallError> {
        let reservation = self.reserve_open(size, limit.0, verify)?;
        Ok(RequestRoom { reservation, header: self.core.header(type_id, limit.0) })
    }

    fn open_in(
        &mut self,
        room: RequestRoom,
        type_id: u32,
        payload: &[u8],
        limit: Limit,
        window: Option<u32>,
    ) -> Result<u64, CallError> {
        self.core.tx.connection.check_process()?;
        open(self, room.reservation, type_id, payload, limit, window)
    }

    #[inline]
    fn look_for_item(&mut self, id: u64, looks: u32) -> Result<Option<StreamTaken>, CallError> {
        let whole = match self.core.calls.stream(id) {
            Some(stream) if !stream.has_message() => stream.deadline,
            _ => return self.take_message_here(id).map(|found| found.map(|message| detach(self, message))),
        };
        // Items that keep coming do not keep the time of the whole stream from ending it.
        if whole.has_passed() {
            return Err(self.stream_halted(id, Halt::TimedOut, whole));
        }
        let found = if self.core.rx.take_next_fast(|of| of == id) {
            Ok(Some(self.core.rx.detach_current()))
        } else {
            look(&mut self.core.rx, looks)
        };
        match found {
            Ok(None) => Ok(None),
            Ok(Some(frame)) if frame.correlation_id == id && is_item(frame.type_id) => {
                self.core.lend_item(id, frame.type_id)?;
                Ok(Some(StreamTaken::Item(ReplyTaken::InPlace(Taking(frame)))))
            }
            Ok(Some(other)) => {
                self.core.file(other)?;
                Ok(self.take_message_here(id)?.map(|message| detach(self, message)))
            }
            Err(halt) => Err(self.stream_halted(id, halt, whole)),
        }
    }

    fn take_item(&mut self, id: u64, limit: Limit) -> Result<StreamTaken, CallError> {
        let message = self.take_message(id, limit.0)?;
        Ok(detach(self, message))
    }

    fn take_filed(&mut self, id: u64) -> Result<Option<StreamTaken>, CallError> {
        if let Some(message) = self.take_message_here(id)? {
            return Ok(Some(detach(self, message)));
        }
        self.core.grant(id);
        Ok(None)
    }

    fn take_filed_last(&mut self, id: u64) -> Result<Option<ReplyTaken>, CallError> {
        while self.core.take_arrived(id).is_some() {}
        if let Some(outcome) = self.core.take_stream_outcome(id) {
            return kept(outcome).map(Some);
        }
        self.core.grant(id);
        Ok(None)
    }

    fn take_last(&mut self, id: u64, limit: Limit) -> Result<ReplyTaken, CallError> {
        let whole = self.core.calls.stream(id).map_or(Deadline::never(), |stream| stream.deadline);
        if let Err(error) = self.take(id, limit.0) {
            let is_over = match error {
                CallError::TimedOut { .. } => whole.has_passed(),
                CallError::Interrupted { .. } => false,
                _ => true,
            };
            if is_over {
                self.core.end(id, true);
            }
            return Err(error);
        }
        Ok(detach_reply(self))
    }

    fn take_news(&mut self) -> Vec<u64> {
        self.core.calls.take_news()
    }

    fn try_send_item(&mut self, id: u64, item: Option<&[u8]>) -> Result<ItemSent, CallError> {
        Ok(match item {
            Some(payload) => self.core.try_send_item(id, payload)?,
            None => self.core.try_send_end(id)?,
        })
    }

    fn wait_to_send(&mut self, id: u64, len: Option<usize>, limit: Limit) -> Result<Option<Room>, CallError> {
        Ok(self.take_item_room(id, len, limit.0)?.map(Room))
    }

    fn send_in(&mut self, id: u64, room: Room, item: Option<&[u8]>) -> Result<(), CallError> {
        self.core.tx.connection.check_process()?;
        let Some(stream) = self.core.calls.stream(id) else { return Ok(()) };
        let route = if item.is_some() {
            stream.credit.note_sent();
            ROUTE_ITEM
        } else {
            stream.has_sent_end = true;
            ROUTE_END
        };
        let header = MessageHeader::new(make_type_id(route, stream.msg_type), id);
        let payload = item.unwrap_or_default();
        self.core.tx.fill(room.0, payload);
        self.core.publish(room.0, payload.len(), header);
        Ok(())
    }

    fn is_stream(&mut self, id: u64) -> bool {
        self.core.calls.stream(id).is_some()
    }

    fn lacks_credit(&mut self, id: u64) -> Result<bool, CallError> {
        if self.core.has_credit(id)? {
            return Ok(false);
        }
        self.core.await_credit(id);
        Ok(true)
    }

    fn take_credited(&mut self) -> Vec<u64> {
        self.core.take_credited()
    }
}

/// Sends an OPEN in its room.
fn open(
    caller: &mut Caller,
    reservation: Reservation,
    type_id: u32,
    payload: &[u8],
    Limit(deadline): Limit,
    window: Option<u32>,
) -> Result<u64, CallError> {
    if msg_type(type_id) == MSG_TYPE_ERROR {
        return Err(CallError::ReservedMsgType);
    }
    let Some((route, window)) = caller.core.open_route(window) else {
        return Err(CallError::TooManyStreams { max: CELLS });
    };
    let type_id = make_type_id(route, msg_type(type_id)) | (type_id & METADATA);
    caller.core.tx.fill(reservation, payload);
    let header = caller.core.header(type_id, deadline);
    caller.core.publish(reservation, payload.len(), header);
    Ok(caller.core.opened(type_id, deadline, window))
}

/// Takes the current frame, or its copy.
pub(super) fn detach_reply(caller: &mut Caller) -> ReplyTaken {
    let copied = caller.core.rx.take_copied();
    let frame = caller.core.rx.detach_current();
    match copied {
        None => ReplyTaken::InPlace(Taking(frame)),
        Some(payload) => ReplyTaken::Kept(frame.type_id, payload.to_vec()),
    }
}

fn detach(caller: &mut Caller, message: StreamMessage) -> StreamTaken {
    match message {
        StreamMessage::Item => StreamTaken::Item(detach_reply(caller)),
        StreamMessage::End => StreamTaken::End,
        StreamMessage::Error => StreamTaken::Error(detach_reply(caller)),
    }
}

fn kept(outcome: Outcome) -> Result<ReplyTaken, CallError> {
    match outcome {
        Ok(Arrived { type_id, payload }) => Ok(ReplyTaken::Kept(type_id, payload.to_vec())),
        Err(end) => Err(Halt::from(end).into()),
    }
}
