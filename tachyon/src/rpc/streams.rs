//! Streams of a caller, by number: opening them, and their items in both directions.

use std::time::Duration;

use super::body::Contents;
use super::caller::{Caller, Target};
use super::error::CallError;
use super::guard::RpcRxGuard;
use super::settings::CallSettings;
use crate::connection::{End, Halt, MAX_PER_LOOK, Unsent, look_for_room, room_while_taking, slice};
use crate::engine::{Arrived, CallerCore, TooManyStreams, file, is_item};
use crate::metadata::{METADATA, Metadata};
use crate::ring::{MessageHeader, Reservation};
use crate::schema::describe::EndpointDescription;
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_END, ROUTE_ITEM, make_type_id, msg_type};
use crate::wait::Deadline;

/// The next message of a stream, which lies in the current frame of the reverse ring if it is an item or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamMessage {
    Item,
    /// The callee sends no further item. The stream is forgotten, except for a reply.
    End,
    Error,
}

impl Caller {
    /// Opens a stream of an endpoint, and gives its correlation id. Other calls and streams go on beside it.
    ///
    /// [`next_item`](Self::next_item) takes the callee's items, [`send_item`](Self::send_item) and
    /// [`end_items`](Self::end_items) send this side's. [`finish`](Self::finish) takes the reply to a stream of this
    /// side's items alone. [`forget`](Self::forget) cancels the stream. Generated clients have a typed form of all
    /// this.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, Caller, Dispatcher};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
    ///     let mut dispatcher = Dispatcher::default();
    ///     dispatcher.register_stream(1, "count", |request: &[u8]| 0..request[0])?;
    ///     dispatcher.serve_forever(&mut callee)?;
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect(&path)?;
    /// let count = caller.open(1, &[3])?;
    /// let mut numbers = Vec::new();
    /// while let Some(item) = caller.next_item(count)? {
    ///     numbers.push(item[0]);
    /// }
    /// assert_eq!(numbers, [0, 1, 2]);
    /// # drop(caller);
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`CallError::TooManyStreams`].
    pub fn open(&mut self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.start_slow(Target::raw(msg_type).opening(None), Contents::Bytes(payload), None, Deadline::never())
    }

    /// As [`open`](Self::open), with settings.
    pub(super) fn open_with(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        settings: &CallSettings,
    ) -> Result<u64, CallError> {
        let target = Target::raw(msg_type).opening(settings.window());
        self.start_slow(target, Contents::Bytes(payload), settings.metadata()?, settings.deadline())
    }

    /// Sends an OPEN over the present connection.
    #[cold]
    pub(super) fn send_open(
        &mut self,
        msg_type: u16,
        window: Option<u32>,
        contents: Contents<'_>,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.wait_for_cell(deadline)?;
        let size = contents.size();
        let tail_len = metadata.map_or(0, Metadata::tail_len);
        let mut reservation = self.take_room(size + tail_len, deadline)?;
        let Some((route, window)) = self.core.open_route(window) else { return Err(TooManyStreams.into()) };
        let (payload, tail) = slice::reserved_mut(&mut reservation, &self.core.tx).split_at_mut(size);
        contents.write(payload);
        let mut type_id = make_type_id(route, msg_type);
        if let Some(metadata) = metadata {
            metadata.write_tail(size, tail);
            type_id |= METADATA;
        }
        let header = self.core.header(type_id, deadline);
        self.core.publish(reservation, size + tail_len, header);
        Ok(self.core.opened(type_id, deadline, window))
    }

    /// Takes room for an OPEN, as [`reserve_until`](Self::reserve_until) does for a call.
    pub(crate) fn reserve_open(
        &mut self,
        size: usize,
        deadline: Deadline,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<Reservation, CallError> {
        self.connected(deadline, |caller| {
            if let Some((here, key)) = verify {
                caller.verify(|| here.clone(), key, deadline)?;
            }
            caller.wait_for_cell(deadline)?;
            Ok(caller.take_room(size, deadline)?)
        })
    }

    /// Waits for a free credit cell, while streams that were given up hold some until their last message. Comes before
    /// the reservation: a cancellation that is owed needs room, too.
    ///
    /// # Errors
    /// [`CallError::TooManyStreams`] when all cells belong to open streams.
    fn wait_for_cell(&mut self, deadline: Deadline) -> Result<(), CallError> {
        while !self.core.has_cell()? {
            while !self.core.flush_cancellations()? {
                self.wait_for_room(0, deadline)?;
            }
            self.file_next(deadline).map_err(Unsent::Halted)?;
        }
        Ok(())
    }

    /// Waits for a message, and files it.
    fn file_next(&mut self, deadline: Deadline) -> Result<(), Halt> {
        self.core.rx.take_current(deadline)?;
        let frame = self.core.rx.detach_current();
        self.core.file(frame)?;
        // While messages keep coming the waiter never reads the clock.
        self.core.rx.check_deadline(deadline)
    }

    /// Waits for the next item of a stream. `None` after the last one: the stream is done, and forgotten. A stream that
    /// ends in a reply stays for [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`CallError::Remote`] when the callee ended the stream with an error, after all items before it;
    /// [`CallError::TimedOut`] when the time of the whole stream is over; [`CallError::UnknownCorrelation`] for a
    /// stream that is not open; otherwise the callee closed or died, after all items that it published.
    #[inline]
    pub fn next_item(&mut self, id: u64) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        self.next_item_until(id, Deadline::never())
    }

    /// As [`next_item`](Self::next_item), waiting at most `timeout`. A wait that timed out leaves the stream open,
    /// unless the time of the whole stream is over.
    ///
    /// # Errors
    /// As [`next_item`](Self::next_item), and [`CallError::TimedOut`].
    pub fn next_item_timeout(&mut self, id: u64, timeout: Duration) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        self.next_item_until(id, Deadline::after(timeout))
    }

    #[inline]
    fn next_item_until(&mut self, id: u64, deadline: Deadline) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        match self.take_message(id, deadline)? {
            StreamMessage::Item => Ok(Some(self.lend())),
            StreamMessage::End => Ok(None),
            StreamMessage::Error => Err(self.refused()),
        }
    }

    /// The next item of a stream if it is there already; `None` if not, or after the last one.
    ///
    /// # Errors
    /// As [`next_item`](Self::next_item).
    pub fn try_next_item(&mut self, id: u64) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        match self.try_take_message(id)? {
            Some(StreamMessage::Item) => Ok(Some(self.lend())),
            Some(StreamMessage::End) | None => Ok(None),
            Some(StreamMessage::Error) => Err(self.refused()),
        }
    }

    /// Takes the next message of a stream, waiting for it.
    #[inline]
    pub(crate) fn take_message(&mut self, id: u64, deadline: Deadline) -> Result<StreamMessage, CallError> {
        let CallerCore { calls, rx, .. } = &mut self.core;
        if let Some(stream) = calls.stream(id)
            && !stream.has_message()
            && rx.take_next_fast(|of| of == id)
        {
            if is_item(rx.current.type_id) && stream.window.note_received() {
                stream.window.take(rx);
                return Ok(StreamMessage::Item);
            }
            let message = self.core.rx.detach_current();
            self.core.file(message)?;
        }
        self.take_message_slow(id, deadline)
    }

    #[inline(never)]
    fn take_message_slow(&mut self, id: u64, deadline: Deadline) -> Result<StreamMessage, CallError> {
        loop {
            if let Some(message) = self.take_message_here(id)? {
                return Ok(message);
            }
            let whole = self.core.calls.stream(id).map_or(Deadline::never(), |stream| stream.deadline);
            self.core.grant(id);
            if let Err(halt) = self.core.rx.take_current(deadline.min(whole)) {
                return Err(self.stream_halted(id, halt, whole));
            }
            if let Some(message) = self.take_current_message(id)? {
                return Ok(message);
            }
            // While messages keep coming the waiter never reads the clock.
            if let Err(halt) = self.core.rx.check_deadline(deadline.min(whole)) {
                return Err(self.stream_halted(id, halt, whole));
            }
        }
    }

    /// As [`take_message`](Self::take_message), without a wait.
    fn try_take_message(&mut self, id: u64) -> Result<Option<StreamMessage>, CallError> {
        for _ in 0..MAX_PER_LOOK {
            if let Some(message) = self.take_message_here(id)? {
                return Ok(Some(message));
            }
            let whole = self.core.calls.stream(id).map_or(Deadline::never(), |stream| stream.deadline);
            if whole.has_passed() {
                return Err(self.stream_halted(id, Halt::TimedOut, whole));
            }
            self.core.grant(id);
            match self.core.rx.try_take_current() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(halt) => return Err(self.stream_halted(id, halt, whole)),
            }
            if let Some(message) = self.take_current_message(id)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Takes a message that was copied out before.
    #[inline]
    pub(crate) fn take_message_here(&mut self, id: u64) -> Result<Option<StreamMessage>, CallError> {
        match self.core.calls.stream(id) {
            None => Err(CallError::UnknownCorrelation(id)),
            Some(stream) if !stream.has_message() => Ok(None),
            Some(_) => self.take_copied_message(id).map(Some),
        }
    }

    #[cold]
    fn take_copied_message(&mut self, id: u64) -> Result<StreamMessage, CallError> {
        if let Some(item) = self.core.take_arrived(id) {
            self.core.rx.set_current_copied(id, item.type_id, item.payload);
            return Ok(StreamMessage::Item);
        }
        if self.core.calls.stream(id).is_some_and(|stream| stream.ends_in_reply()) {
            return Ok(StreamMessage::End);
        }
        let Some(outcome) = self.core.take_stream_outcome(id) else {
            return Err(CallError::UnknownCorrelation(id));
        };
        let taken = self.take_outcome(id, outcome);
        self.show(id, &taken);
        taken?;
        let is_error = msg_type(self.core.rx.current.type_id) == MSG_TYPE_ERROR;
        Ok(if is_error { StreamMessage::Error } else { StreamMessage::End })
    }

    /// Takes the current frame if it is an item of a stream. Files it otherwise, and takes the stream's next message if
    /// the frame was one.
    #[inline]
    fn take_current_message(&mut self, id: u64) -> Result<Option<StreamMessage>, CallError> {
        let frame = self.core.rx.current;
        if frame.correlation_id == id && is_item(frame.type_id) {
            self.core.lend_item(id, frame.type_id)?;
            return Ok(Some(StreamMessage::Item));
        }
        let other = self.core.rx.detach_current();
        self.core.file(other)?;
        self.take_message_here(id)
    }

    /// The error of a wait that ended without a message.
    #[cold]
    pub(crate) fn stream_halted(&mut self, id: u64, halt: Halt, whole: Deadline) -> CallError {
        let over = match halt {
            Halt::TimedOut => whole.has_passed(),
            Halt::Closed | Halt::PeerDead => true,
            _ => false,
        };
        let error = CallError::from(halt);
        if !over {
            return error;
        }
        self.core.end(id, true);
        let outcome = Err(error);
        self.show(id, &outcome);
        let Err(error) = outcome else { unreachable!("made above") };
        error
    }

    /// Takes the last message of a stream as the current frame of the reverse ring. Items before it are dropped.
    #[cold]
    pub(super) fn take_last(&mut self, id: u64, deadline: Deadline) -> Result<(), CallError> {
        loop {
            if let Some(outcome) = self.last_here(id) {
                return self.take_outcome(id, outcome);
            }
            let whole = self.core.calls.stream(id).map_or(Deadline::never(), |stream| stream.deadline);
            self.core.grant(id);
            self.file_next(deadline.min(whole))?;
        }
    }

    /// As [`take_last`](Self::take_last), without a wait.
    #[cold]
    pub(super) fn try_take_last(&mut self, id: u64) -> Result<Option<()>, CallError> {
        for _ in 0..MAX_PER_LOOK {
            if let Some(outcome) = self.last_here(id) {
                return self.take_outcome(id, outcome).map(Some);
            }
            self.core.grant(id);
            if !self.core.rx.try_take_current()? {
                return Ok(None);
            }
            let frame = self.core.rx.detach_current();
            self.core.file(frame)?;
        }
        Ok(None)
    }

    fn last_here(&mut self, id: u64) -> Option<Result<Arrived, End>> {
        while self.core.take_arrived(id).is_some() {}
        self.core.take_stream_outcome(id)
    }

    /// Sends an item to the callee of a stream, waiting for credit and for room. False when the callee takes nothing
    /// more: after [`end_items`](Self::end_items), when the stream has ended, and when the callee is gone.
    /// [`finish`](Self::finish) or [`next_item`](Self::next_item) has the outcome, after all that the callee published.
    ///
    /// # Errors
    /// [`CallError::TooLarge`]: the item can never fit the ring; the stream stays open. [`CallError::TimedOut`] when
    /// the time of the whole stream is over.
    pub fn send_item(&mut self, id: u64, payload: &[u8]) -> Result<bool, CallError> {
        self.send_item_of(id, payload.len(), |out| out.copy_from_slice(payload))
    }

    /// As [`send_item`](Self::send_item), for an item of `len` bytes that `write` writes.
    pub(super) fn send_item_of(
        &mut self,
        id: u64,
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<bool, CallError> {
        let Some(mut reservation) = self.take_item_room(id, Some(len), Deadline::never())? else { return Ok(false) };
        write(slice::reserved_mut(&mut reservation, &self.core.tx));
        let Some(stream) = self.core.calls.stream(id) else { return Ok(false) };
        stream.credit.note_sent();
        let header = MessageHeader::new(make_type_id(ROUTE_ITEM, stream.msg_type), id);
        self.core.publish(reservation, len, header);
        Ok(true)
    }

    /// Says that this side sends no further item of a stream. Waits for room. A callee that is gone needs no END.
    ///
    /// # Errors
    /// As [`send_item`](Self::send_item).
    pub fn end_items(&mut self, id: u64) -> Result<(), CallError> {
        if self.core.calls.stream(id).is_some_and(|stream| stream.has_sent_end) {
            return Ok(());
        }
        let Some(reservation) = self.take_item_room(id, None, Deadline::never())? else { return Ok(()) };
        let Some(stream) = self.core.calls.stream(id) else { return Ok(()) };
        stream.has_sent_end = true;
        let header = MessageHeader::new(make_type_id(ROUTE_END, stream.msg_type), id);
        self.core.publish(reservation, 0, header);
        Ok(())
    }

    /// Takes room for an item of `len` bytes, with credit, or for an END, waiting for it until `deadline`. `None` when
    /// the stream has ended, or has its END, and when the callee is gone.
    pub(crate) fn take_item_room(
        &mut self,
        id: u64,
        len: Option<usize>,
        deadline: Deadline,
    ) -> Result<Option<Reservation>, CallError> {
        let whole = match self.core.calls.stream(id) {
            None => return Err(CallError::UnknownCorrelation(id)),
            Some(stream) => stream.deadline,
        };
        let CallerCore { tx, rx, calls, .. } = &mut self.core;
        let fits = len.map_or(Ok(()), |len| tx.check(len));
        let found = fits.and_then(|()| {
            room_while_taking(
                (tx, rx, calls),
                deadline.min(whole),
                |connection, forward, producer, calls| {
                    let Some(stream) = calls.stream(id).filter(|stream| stream.takes_items()) else {
                        return Ok(Some(None));
                    };
                    let has_credit = match len {
                        Some(_) => stream.credit.is_open(producer).map_err(|fault| connection.broken(fault))?,
                        None => true,
                    };
                    let room = look_for_room(connection, forward, producer, len.unwrap_or(0))?;
                    Ok(room.filter(|_| has_credit).map(Some))
                },
                file,
            )
        });
        match found {
            Ok(found) => Ok(found),
            // Messages that the callee published are still to be taken, and the take behind them reports the end.
            Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => Ok(None),
            Err(Unsent::Halted(halt)) => Err(self.stream_halted(id, halt, whole)),
            Err(unsent) => Err(unsent.into()),
        }
    }
}
