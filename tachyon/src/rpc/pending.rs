//! Calls under way: which correlation ids wait for a reply, and replies that came before they were waited for.

use std::collections::VecDeque;

use crate::aligned::AlignedBytes;
use crate::error::Halt;

/// A reply copied out of the ring to wait for its own waiter.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) type_id: u32,
    pub(crate) payload: AlignedBytes,
}

/// How the connection that a call was sent on ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Closed,
    PeerDead,
}

impl From<Loss> for Halt {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Closed => Self::Closed,
            Loss::PeerDead => Self::PeerDead,
        }
    }
}

#[derive(Debug)]
struct Entry {
    correlation_id: u64,
    outcome: Option<Result<Arrived, Loss>>,
}

/// Where a call stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not outstanding.
    Unknown,
    /// Nothing has come for it yet.
    Awaited,
    /// Its outcome is here to be taken.
    Settled,
}

/// What a correlation id that came over the present connection means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A call that waits for this.
    Awaited,
    /// A call that was given up, or was answered before.
    Forgotten,
    /// No call at all.
    Impossible,
}

/// The outstanding calls of one caller, oldest first. Ids only grow, so the queue is sorted.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The first id sent over the present connection.
    first: u64,
    next: u64,
    /// The only call under way, while nothing has come for it: what nearly every call is, from beginning to end. It is
    /// not in the queue then, which is empty. 0 is no call.
    lone: u64,
    entries: VecDeque<Entry>,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { first: 1, next: 1, lone: 0, entries: VecDeque::new() }
    }

    /// The id the next call will have.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Notes that the call with the next id was sent.
    #[inline]
    pub(crate) fn sent(&mut self) -> u64 {
        let correlation_id = self.next;
        self.next += 1;
        if self.lone == 0 && self.entries.is_empty() {
            self.lone = correlation_id;
        } else {
            self.queue_lone();
            self.entries.push_back(Entry { correlation_id, outcome: None });
        }
        correlation_id
    }

    /// Whether this call is the only one under way, and nothing has come for it.
    #[inline]
    pub(crate) fn is_lone(&self, correlation_id: u64) -> bool {
        self.lone == correlation_id && correlation_id != 0
    }

    /// The call is one of several from now on, or has an outcome to keep.
    fn queue_lone(&mut self) {
        if self.lone != 0 {
            self.entries.push_back(Entry { correlation_id: self.lone, outcome: None });
            self.lone = 0;
        }
    }

    /// Ends the only call under way, whose reply came.
    #[inline]
    pub(crate) fn lone_came(&mut self) {
        self.lone = 0;
    }

    /// Number of calls that are neither answered and taken, nor forgotten.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.lone != 0)
    }

    fn find(&self, correlation_id: u64) -> Option<usize> {
        // The call waited for is nearly always the oldest one.
        if self.entries.front().is_some_and(|entry| entry.correlation_id == correlation_id) {
            return Some(0);
        }
        self.entries.binary_search_by_key(&correlation_id, |entry| entry.correlation_id).ok()
    }

    #[inline]
    pub(crate) fn is_outstanding(&self, correlation_id: u64) -> bool {
        self.is_lone(correlation_id) || self.find(correlation_id).is_some()
    }

    /// Where a call stands.
    #[inline]
    pub(crate) fn standing(&self, correlation_id: u64) -> Standing {
        if self.is_lone(correlation_id) {
            return Standing::Awaited;
        }
        match self.find(correlation_id) {
            None => Standing::Unknown,
            Some(index) if self.entries[index].outcome.is_none() => Standing::Awaited,
            Some(_) => Standing::Settled,
        }
    }

    /// Ends a call; its outcome, if there is one, goes to the caller.
    #[inline]
    pub(crate) fn end(&mut self, correlation_id: u64) -> Option<Result<Arrived, Loss>> {
        if self.is_lone(correlation_id) {
            self.lone = 0;
            return None;
        }
        let index = self.find(correlation_id)?;
        self.entries.remove(index)?.outcome
    }

    /// Ends all calls.
    pub(crate) fn end_all(&mut self) {
        self.lone = 0;
        self.entries.clear();
    }

    /// Whether there is nothing to wait for any more: a reply that came early is kept, or the call is lost.
    #[inline]
    pub(crate) fn has_arrived(&self, correlation_id: u64) -> bool {
        self.standing(correlation_id) == Standing::Settled
    }

    /// Ends the time of one connection: calls without a reply are lost, and ids from now on are a new connection's.
    pub(crate) fn lose(&mut self, loss: Loss) {
        self.first = self.next;
        self.queue_lone();
        for entry in &mut self.entries {
            entry.outcome.get_or_insert(Err(loss));
        }
    }

    /// What to make of a reply to `correlation_id`.
    pub(crate) fn meaning(&self, correlation_id: u64) -> Meaning {
        if correlation_id < self.first || correlation_id >= self.next {
            return Meaning::Impossible;
        }
        if self.is_lone(correlation_id) {
            return Meaning::Awaited;
        }
        match self.find(correlation_id) {
            Some(index) if self.entries[index].outcome.is_none() => Meaning::Awaited,
            _ => Meaning::Forgotten,
        }
    }

    /// Keeps a reply for its waiter; `meaning` has said `Awaited`.
    pub(crate) fn keep(&mut self, correlation_id: u64, reply: Arrived) {
        self.queue_lone();
        if let Some(index) = self.find(correlation_id) {
            self.entries[index].outcome = Some(Ok(reply));
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
        let mut pending = Pending::new();
        assert_eq!([pending.sent(), pending.sent(), pending.sent()], [1, 2, 3]);
        assert_eq!(pending.len(), 3);
    }

    #[test]
    fn replies_in_any_order_find_their_call() {
        let mut pending = Pending::new();
        for _ in 0..100 {
            pending.sent();
        }
        for id in (1..=100).rev() {
            assert_eq!(pending.meaning(id), Meaning::Awaited);
            pending.keep(id, reply(u8::try_from(id).unwrap()));
            assert_eq!(pending.meaning(id), Meaning::Forgotten, "a second reply is not awaited");
        }
        for id in 1..=100 {
            assert_eq!(*pending.end(id).unwrap().unwrap().payload, [u8::try_from(id).unwrap()]);
            assert!(!pending.is_outstanding(id));
        }
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn forgotten_calls_drop_their_reply() {
        let mut pending = Pending::new();
        let id = pending.sent();
        assert!(pending.end(id).is_none());
        assert_eq!(pending.meaning(id), Meaning::Forgotten);
    }

    #[test]
    fn ids_nobody_made_are_impossible() {
        let mut pending = Pending::new();
        pending.sent();
        assert_eq!(pending.meaning(0), Meaning::Impossible);
        assert_eq!(pending.meaning(2), Meaning::Impossible);
        assert_eq!(pending.meaning(u64::MAX), Meaning::Impossible);
    }

    #[test]
    fn a_lost_connection_settles_its_calls_and_the_next_one_has_its_own_ids() {
        let mut pending = Pending::new();
        let [early, late, gone] = [pending.sent(), pending.sent(), pending.sent()];
        pending.keep(early, reply(7));
        pending.end(gone);
        pending.lose(Loss::PeerDead);
        assert_eq!(pending.next(), 4, "ids never repeat");
        for id in [early, late, gone, 4] {
            assert_eq!(pending.meaning(id), Meaning::Impossible, "{id} was not sent over the new connection");
        }
        assert_eq!(*pending.end(early).unwrap().unwrap().payload, [7]);
        assert_eq!(pending.standing(late), Standing::Settled);
        assert_eq!(pending.end(late).unwrap().unwrap_err(), Loss::PeerDead);
        assert_eq!(pending.standing(gone), Standing::Unknown);
        assert_eq!(pending.meaning(pending.next()), Meaning::Impossible);
        let id = pending.sent();
        assert_eq!(pending.meaning(id), Meaning::Awaited);
    }
}
