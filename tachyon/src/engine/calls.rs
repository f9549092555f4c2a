//! The outstanding calls of a caller: correlation ids that wait for a reply, and outcomes that wait to be taken.

use core::hash::{BuildHasherDefault, Hasher};
use core::num::NonZeroU64;
use std::collections::HashMap;

use crate::aligned::AlignedBytes;
use crate::connection::End;

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
}

/// The meaning of a reply, by its correlation id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<T> {
    /// A call in flight, which is no longer outstanding.
    Awaited(T),
    /// A call that was given up, or is already answered.
    Forgotten,
    /// An id that no call has.
    Impossible,
}

#[derive(Debug)]
enum Entry<T> {
    Waiting(T),
    Finished(Outcome),
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
}

impl<T> Calls<T> {
    pub(super) fn new() -> Self {
        Self { first: 1, next: 1, single: None, table: HashMap::default() }
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
        self.table.len() + usize::from(self.single.is_some())
    }

    pub(crate) fn standing(&self, id: u64) -> CallState {
        if self.is_single(id) {
            return CallState::Awaited;
        }
        match self.table.get(&id) {
            None => CallState::Unknown,
            Some(Entry::Waiting(_)) => CallState::Awaited,
            Some(Entry::Finished(_)) => CallState::Finished,
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
        self.remove(id).map(|entry| matches!(entry, Entry::Waiting(_)))
    }

    /// Takes the outcome of a finished call.
    pub(super) fn take_outcome(&mut self, id: u64) -> Option<Outcome> {
        match self.remove(id)? {
            Entry::Finished(outcome) => Some(outcome),
            Entry::Waiting(tag) => {
                self.table.insert(id, Entry::Waiting(tag));
                None
            }
        }
    }

    /// Gives all calls up, and returns the ids and tags of those in flight.
    pub(super) fn take_all(&mut self) -> Vec<(u64, T)> {
        self.move_single();
        let waiting = |(id, entry)| match entry {
            Entry::Waiting(tag) => Some((id, tag)),
            Entry::Finished(_) => None,
        };
        core::mem::take(&mut self.table).into_iter().filter_map(waiting).collect()
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
            Some(finished) => {
                self.table.insert(id, finished);
                Answer::Forgotten
            }
            None => Answer::Forgotten,
        }
    }

    /// Files the reply that `arrived` makes for its waiter, or drops it if no call waits. False when the reply is to no
    /// call at all.
    pub(super) fn keep(&mut self, id: u64, arrived: impl FnOnce() -> Arrived) -> bool {
        if !self.is_possible(id) {
            return false;
        }
        self.move_single();
        if let Some(entry @ Entry::Waiting(_)) = self.table.get_mut(&id) {
            *entry = Entry::Finished(Ok(arrived()));
        }
        true
    }

    /// Ends a connection: calls in flight are lost, and later ids belong to the next connection.
    pub(super) fn lose(&mut self, end: &End) {
        self.first = self.next;
        self.move_single();
        for entry in self.table.values_mut() {
            if let Entry::Waiting(_) = entry {
                *entry = Entry::Finished(Err(end.clone()));
            }
        }
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
            assert!(calls.keep(id, || reply(u8::try_from(id).unwrap())));
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
            assert!(calls.keep(ids[0], || panic!("no call waits for it")));
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
            assert!(!calls.keep(id, || reply(0)));
        }
    }

    #[test]
    fn a_lost_connection_finishes_its_calls_and_the_next_connection_has_its_own_ids() {
        let mut calls = Calls::new();
        let [early, late, gone] = [(); 3].map(|()| calls.sent(()));
        assert!(calls.keep(early, || reply(7)));
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
