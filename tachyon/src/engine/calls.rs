//! The outstanding calls of a caller: correlation ids that wait for a reply, and outcomes that wait to be taken.

use core::hash::{BuildHasherDefault, Hasher};
use core::num::NonZeroU64;
use std::collections::HashMap;

use super::caller_stream::{CallerStream, Cells, is_item};
use super::credit::Window;
use crate::aligned::AlignedBytes;
use crate::connection::End;
use crate::ring::Fault;

/// A reply that was copied out of the ring until its caller waits for it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) type_id: u32,
    pub(crate) payload: AlignedBytes,
}

/// The outcome of a call that no waiter has taken yet: its reply, or the end of its connection.
pub(crate) type Outcome = Result<Arrived, End>;

/// The state of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallState {
    /// Not outstanding.
    Unknown,
    /// In flight.
    Awaited,
    /// The outcome waits to be taken.
    Finished,
    /// A stream.
    Stream,
}

/// The meaning of a reply, by its correlation id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<T> {
    /// A call in flight, which is no longer outstanding.
    Awaited(T),
    /// A call that was given up, or is already answered.
    Forgotten,
    /// A stream, which files its messages.
    Stream,
    /// An id that no call has.
    Impossible,
}

#[derive(Debug)]
enum Entry<T> {
    Waiting(T),
    Finished(Outcome),
    Stream(Box<CallerStream>),
    /// A stream that was given up. Its last message frees the cell.
    Closing(Window),
}

/// Hashes an id by one multiplication: ids are counted up, and a peer cannot choose them.
#[derive(Debug, Default)]
struct OneMultiply(u64);

impl Hasher for OneMultiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio: Knuth, The Art of Computer Programming, volume 3, 6.4.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Entries for which the table keeps its memory after a burst.
const KEPT_ENTRIES: usize = 1024;

/// The outstanding calls of one caller, each with the driver's tag. Every operation takes constant time, in any order.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    /// The first id of the present connection.
    first: u64,
    next: u64,
    /// The single outstanding call, while it is in flight. The table is empty then. Nearly every call stays here until
    /// its reply.
    single: Option<(NonZeroU64, T)>,
    table: HashMap<u64, Entry<T>, BuildHasherDefault<OneMultiply>>,
    cells: Cells,
    /// Streams that were given up and await their last message.
    closing: usize,
    /// Outstanding streams with messages that came since their driver asked, each once.
    news: Vec<u64>,
}

impl<T> Calls<T> {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            next: 1,
            single: None,
            table: HashMap::default(),
            cells: Cells::default(),
            closing: 0,
            news: Vec::new(),
        }
    }

    /// The id of the next call. Ids grow also across connections: an id never means two calls.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Notes that the call with the next id was sent.
    #[inline]
    pub(crate) fn sent(&mut self, tag: T) -> u64 {
        let id = self.next;
        self.next += 1;
        if self.single.is_none() && self.table.is_empty() {
            self.single = NonZeroU64::new(id).map(|id| (id, tag));
        } else {
            self.sent_beside_others(id, tag);
        }
        id
    }

    /// The credit cells of the streams.
    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Whether a stream that was given up awaits its last message.
    pub(super) fn has_closing(&self) -> bool {
        self.closing > 0
    }

    /// Notes that the call with the next id opened a stream.
    pub(super) fn opened(&mut self, stream: Box<CallerStream>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.move_single();
        self.cells.take(&stream.window);
        self.table.insert(id, Entry::Stream(stream));
        id
    }

    /// An open stream.
    #[inline]
    pub(crate) fn stream(&mut self, id: u64) -> Option<&mut CallerStream> {
        match self.table.get_mut(&id) {
            Some(Entry::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Streams with messages that came since the last question.
    pub(crate) fn take_news(&mut self) -> Vec<u64> {
        for id in &self.news {
            if let Some(Entry::Stream(stream)) = self.table.get_mut(id) {
                stream.is_listed = false;
            }
        }
        core::mem::take(&mut self.news)
    }

    #[inline(never)]
    fn sent_beside_others(&mut self, id: u64, tag: T) {
        self.move_single();
        self.table.insert(id, Entry::Waiting(tag));
    }

    /// Whether this call is the single outstanding call, and in flight.
    #[inline]
    pub(super) fn is_single(&self, id: u64) -> bool {
        matches!(&self.single, Some((single, _)) if single.get() == id)
    }

    /// Removes the single outstanding call.
    #[inline]
    pub(super) fn take_single(&mut self) -> Option<T> {
        self.single.take().map(|(_, tag)| tag)
    }

    /// Moves the single call to the table, because another call joins it, because it gets an outcome, or because its
    /// reply shall take the slow path.
    pub(crate) fn move_single(&mut self) {
        if let Some((id, tag)) = self.single.take() {
            self.table.insert(id.get(), Entry::Waiting(tag));
        }
    }

    /// The number of outstanding calls.
    pub(crate) fn len(&self) -> usize {
        self.table.len() - self.closing + usize::from(self.single.is_some())
    }

    pub(crate) fn standing(&self, id: u64) -> CallState {
        if self.is_single(id) {
            return CallState::Awaited;
        }
        match self.table.get(&id) {
            None | Some(Entry::Closing(_)) => CallState::Unknown,
            Some(Entry::Waiting(_)) => CallState::Awaited,
            Some(Entry::Finished(_)) => CallState::Finished,
            Some(Entry::Stream(_)) => CallState::Stream,
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry<T>> {
        let entry = self.table.remove(&id);
        let capacity = self.table.capacity();
        if capacity > KEPT_ENTRIES && self.table.len() < capacity / 8 {
            self.table.shrink_to(capacity / 4);
        }
        entry
    }

    /// Gives a call up. True when the call was in flight; `None` when no such call is outstanding.
    pub(super) fn end(&mut self, id: u64) -> Option<bool> {
        if self.is_single(id) {
            self.single = None;
            return Some(true);
        }
        match self.remove(id)? {
            Entry::Waiting(_) => Some(true),
            Entry::Finished(_) => Some(false),
            Entry::Stream(stream) => Some(self.close(id, *stream)),
            closing @ Entry::Closing(_) => {
                self.table.insert(id, closing);
                None
            }
        }
    }

    /// Gives a stream up. True when its last message has not come.
    fn close(&mut self, id: u64, stream: CallerStream) -> bool {
        self.drop_news(id, &stream);
        let Some(closing) = stream.give_up() else { return false };
        self.table.insert(id, Entry::Closing(closing));
        self.closing += 1;
        true
    }

    /// Forgets the news of a stream that leaves: a driver that waits in place never asks for them.
    fn drop_news(&mut self, id: u64, stream: &CallerStream) {
        if stream.is_listed {
            self.news.retain(|of| *of != id);
        }
    }

    /// Takes the outcome of a finished call.
    pub(super) fn take_outcome(&mut self, id: u64) -> Option<Outcome> {
        match self.remove(id)? {
            Entry::Finished(outcome) => Some(outcome),
            other => {
                self.table.insert(id, other);
                None
            }
        }
    }

    /// Gives all calls up, and returns the ids of those in flight, with the tags of calls that are no streams.
    pub(super) fn take_all(&mut self) -> Vec<(u64, Option<T>)> {
        self.move_single();
        let mut in_flight = Vec::new();
        for (id, entry) in core::mem::take(&mut self.table) {
            match entry {
                Entry::Waiting(tag) => in_flight.push((id, Some(tag))),
                Entry::Finished(_) => {}
                Entry::Stream(stream) => {
                    if self.close(id, *stream) {
                        in_flight.push((id, None));
                    }
                }
                closing @ Entry::Closing(_) => drop(self.table.insert(id, closing)),
            }
        }
        in_flight
    }

    /// Whether the present connection has carried this id.
    fn is_possible(&self, id: u64) -> bool {
        (self.first..self.next).contains(&id)
    }

    /// Removes the call of a reply.
    pub(super) fn answered(&mut self, id: u64) -> Answer<T> {
        if self.is_single(id) {
            return self.take_single().map_or(Answer::Forgotten, Answer::Awaited);
        }
        if !self.is_possible(id) {
            return Answer::Impossible;
        }
        match self.remove(id) {
            Some(Entry::Waiting(tag)) => Answer::Awaited(tag),
            Some(other) => {
                let is_stream = matches!(other, Entry::Stream(_) | Entry::Closing(_));
                self.table.insert(id, other);
                if is_stream { Answer::Stream } else { Answer::Forgotten }
            }
            None => Answer::Forgotten,
        }
    }

    /// Files the message that `arrived` makes for its waiter, or drops it if no call waits.
    ///
    /// # Errors
    /// The message is to no call at all, or is an item without credit.
    pub(super) fn keep(&mut self, id: u64, type_id: u32, arrived: impl FnOnce() -> Arrived) -> Result<(), Fault> {
        if !self.is_possible(id) {
            return Err(Fault::Correlation(id));
        }
        self.move_single();
        let is_last = !is_item(type_id);
        match self.table.get_mut(&id) {
            Some(entry @ Entry::Waiting(_)) => *entry = Entry::Finished(Ok(arrived())),
            Some(Entry::Stream(stream)) => {
                if is_last && stream.end.is_none() {
                    self.cells.free(&stream.window);
                }
                stream.file(is_last, arrived).map_err(|()| Fault::Stream { correlation_id: id, type_id })?;
                if !core::mem::replace(&mut stream.is_listed, true) {
                    self.news.push(id);
                }
            }
            Some(Entry::Closing(window)) if is_last => {
                self.cells.free(window);
                self.closing -= 1;
                self.remove(id);
            }
            Some(Entry::Closing(window)) => {
                if !window.note_received() {
                    return Err(Fault::Stream { correlation_id: id, type_id });
                }
            }
            Some(Entry::Finished(_)) | None => {}
        }
        Ok(())
    }

    /// Removes a stream whose last message was taken off the ring, or lies in the stream.
    pub(super) fn stream_ended(&mut self, id: u64) -> Option<Outcome> {
        if !matches!(self.table.get(&id), Some(Entry::Stream(_))) {
            return None;
        }
        let Some(Entry::Stream(stream)) = self.remove(id) else { return None };
        if stream.end.is_none() {
            self.cells.free(&stream.window);
        }
        self.drop_news(id, &stream);
        stream.end
    }

    /// Ends a connection: calls in flight are lost, and later ids belong to the next connection.
    pub(super) fn lose(&mut self, end: &End) {
        self.first = self.next;
        self.move_single();
        (self.cells, self.closing) = (Cells::default(), 0);
        self.table.retain(|id, entry| {
            match entry {
                Entry::Waiting(_) => *entry = Entry::Finished(Err(end.clone())),
                Entry::Stream(stream) if stream.end.is_none() => {
                    stream.end = Some(Err(end.clone()));
                    if !core::mem::replace(&mut stream.is_listed, true) {
                        self.news.push(*id);
                    }
                }
                Entry::Stream(_) | Entry::Finished(_) => {}
                Entry::Closing(_) => return false,
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(byte: u8) -> Arrived {
        Arrived { type_id: 0, payload: [byte][..].into() }
    }

    #[test]
    fn ids_start_at_one_and_grow() {
        let mut calls = Calls::new();
        assert_eq!([(); 3].map(|()| calls.sent(())), [1, 2, 3]);
        assert_eq!(calls.len(), 3);
    }

    #[test]
    fn replies_in_any_order_find_their_call() {
        let mut calls = Calls::new();
        for tag in 0..100u8 {
            calls.sent(tag);
        }
        for id in (51..=100).rev() {
            assert_eq!(calls.keep(id, 0, || reply(u8::try_from(id).unwrap())), Ok(()));
            assert_eq!(calls.answered(id), Answer::Forgotten, "a second reply is not awaited");
        }
        for id in (1..=50).rev() {
            assert_eq!(calls.answered(id), Answer::Awaited(u8::try_from(id).unwrap() - 1));
        }
        for id in 51..=100 {
            assert_eq!(*calls.take_outcome(id).unwrap().unwrap().payload, [u8::try_from(id).unwrap()]);
            assert_eq!(calls.standing(id), CallState::Unknown);
        }
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn a_call_that_was_given_up_drops_its_reply() {
        let mut calls = Calls::new();
        for others in 0..2 {
            let ids: Vec<_> = (0..=others).map(|_| calls.sent(())).collect();
            assert_eq!(calls.end(ids[0]), Some(true));
            assert_eq!(calls.answered(ids[0]), Answer::Forgotten);
            assert_eq!(calls.keep(ids[0], 0, || panic!("no call waits for it")), Ok(()));
            assert_eq!(calls.end(ids[0]), None);
            calls.take_all();
        }
    }

    #[test]
    fn ids_that_were_not_sent_are_impossible() {
        let mut calls = Calls::new();
        calls.sent(());
        for id in [0, 2, u64::MAX] {
            assert_eq!(calls.answered(id), Answer::Impossible);
            assert_eq!(calls.keep(id, 0, || reply(0)), Err(Fault::Correlation(id)));
        }
    }

    #[test]
    fn a_lost_connection_finishes_its_calls_and_the_next_connection_has_its_own_ids() {
        let mut calls = Calls::new();
        let [early, late, gone] = [(); 3].map(|()| calls.sent(()));
        assert_eq!(calls.keep(early, 0, || reply(7)), Ok(()));
        calls.end(gone);
        calls.lose(&End::PeerDead);
        assert_eq!(calls.next(), 4, "ids never repeat");
        for id in [early, late, gone, 4] {
            assert_eq!(calls.answered(id), Answer::Impossible, "{id} was not sent over the new connection");
        }
        assert_eq!(*calls.take_outcome(early).unwrap().unwrap().payload, [7]);
        assert_eq!(calls.standing(late), CallState::Finished);
        assert!(matches!(calls.take_outcome(late), Some(Err(End::PeerDead))));
        assert_eq!(calls.standing(gone), CallState::Unknown);
        let id = calls.sent(());
        assert_eq!(calls.answered(id), Answer::Awaited(()));
    }

    #[test]
    fn a_burst_leaves_no_large_table() {
        let mut calls = Calls::new();
        for _ in 0..100_000 {
            calls.sent(());
        }
        for id in (1..=100_000).rev() {
            calls.end(id);
        }
        assert!(calls.table.capacity() <= 2 * KEPT_ENTRIES, "{}", calls.table.capacity());
    }
}
