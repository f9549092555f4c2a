//! The credit of a stream, at the end that sends its items and at the end that receives them.
//!
//! A credit is a count in the segment, and no message: a request without a place would hold up a message with the
//! credit that frees the place. The count is absolute, as `MAX_STREAM_DATA` of QUIC is (RFC 9000, section 19.10), so a
//! look that comes late misses nothing, and the receiving end can change its window at any time.

use crate::connection::{Halt, Rx, Tx};
use crate::ring::{Fault, Producer};

/// The largest window, in items.
pub(crate) const MAX_WINDOW: u64 = 1 << 20;

/// Most items under way in one stream without a wish of its user.
const DEFAULT_WINDOW: u64 = 32;

/// The end that sends items.
#[derive(Debug)]
pub(crate) struct SendCredit {
    cell: usize,
    sent: u64,
    /// The credit at the last look.
    granted: u64,
}

impl SendCredit {
    pub(crate) fn new(cell: usize) -> Self {
        Self { cell, sent: 0, granted: 0 }
    }

    /// Whether an item may be sent.
    ///
    /// # Errors
    /// A credit that no correct peer grants.
    #[inline]
    pub(crate) fn is_open(&mut self, producer: &Producer) -> Result<bool, Fault> {
        if self.sent < self.granted {
            return Ok(true);
        }
        let (found, from, to) = (producer.granted(self.cell), self.granted, self.sent + MAX_WINDOW);
        // The receiving end has ended the stream, and its last message follows.
        if found == 0 {
            return Ok(false);
        }
        if !(from..=to).contains(&found) {
            return Err(Fault::Credit { found, from, to });
        }
        self.granted = found;
        Ok(self.sent < found)
    }

    /// As [`is_open`](Self::is_open), over a direction.
    #[inline]
    pub(crate) fn check(&mut self, tx: &Tx) -> Result<bool, Halt> {
        self.is_open(&tx.producer).map_err(|fault| tx.fatal(fault))
    }

    /// Counts an item that was sent.
    pub(crate) fn note_sent(&mut self) {
        self.sent += 1;
    }
}

/// The end that receives items.
#[derive(Debug)]
pub(crate) struct Window {
    cell: usize,
    /// Items that may be under way.
    size: u64,
    received: u64,
    taken: u64,
    granted: u64,
}

impl Window {
    /// Opens a window for the stream with a cell. The peer has not begun to send.
    pub(crate) fn open(cell: usize, size: u64, rx: &mut Rx) -> Self {
        rx.grant(cell, size);
        Self { cell, size, received: 0, taken: 0, granted: size }
    }

    /// The credit cell of the stream.
    pub(super) fn cell(&self) -> usize {
        self.cell
    }

    /// Items that may be under way.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The window of a stream whose peer sends no items.
    pub(crate) fn closed(cell: usize) -> Self {
        Self { cell, size: 0, received: 0, taken: 0, granted: 0 }
    }

    /// Counts a received item. False for an item without credit.
    #[inline]
    #[must_use = "an item without credit is a fault"]
    pub(crate) fn note_received(&mut self) -> bool {
        self.received += 1;
        self.received <= self.granted
    }

    /// Notes that the stream's user has taken so many items in all. Grants new credit in batches of a quarter of the
    /// window.
    #[inline]
    pub(crate) fn note_taken(&mut self, taken: u64, rx: &mut Rx) {
        self.taken = taken;
        if self.taken + self.size - self.granted >= (self.size / 4).max(1) {
            self.grant(rx);
        }
    }

    /// Counts an item that the stream's user takes.
    #[inline]
    pub(crate) fn take(&mut self, rx: &mut Rx) {
        self.note_taken(self.taken + 1, rx);
    }

    /// Grants all credit that there is: the receiving end is about to wait.
    #[inline(never)]
    pub(crate) fn grant(&mut self, rx: &mut Rx) {
        let granted = self.taken + self.size;
        if granted > self.granted {
            self.granted = granted;
            rx.grant(self.cell, granted);
        }
    }
}

/// The window of a stream whose user wishes for `wish` items, beside windows of `others` items. All windows of a
/// connection leave half of the ring's slots to other messages, as far as each window has one item.
pub(crate) fn window_of(wish: Option<u32>, others: u64, rx: &Rx) -> u64 {
    let slots = rx.ring().geometry().slots() as u64;
    let wished = wish.map_or(DEFAULT_WINDOW.min(slots / 8), u64::from);
    wished.min((slots / 2).saturating_sub(others)).max(1)
}
