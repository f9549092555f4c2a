//! An open stream at its caller.

use std::collections::VecDeque;

use super::calls::{Arrived, Outcome};
use super::credit::{SendCredit, Window};
use crate::ring::CELLS;
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_ITEM, msg_type, route_id};
use crate::wait::Deadline;

/// An open stream.
#[derive(Debug)]
pub(crate) struct CallerStream {
    pub(crate) msg_type: u16,
    /// Until when the whole stream may take.
    pub(crate) deadline: Deadline,
    /// For items of the callee.
    pub(crate) window: Window,
    /// For items of the caller.
    pub(crate) credit: SendCredit,
    /// Whether the caller's END was sent.
    pub(crate) has_sent_end: bool,
    /// Items that were copied out of the ring while something else was waited for; at most a window.
    pub(crate) arrived: VecDeque<Arrived>,
    /// The last message: END, the reply to a client stream, an error reply, or the end of the connection.
    pub(crate) end: Option<Outcome>,
    /// Whether the news list the stream: its driver has not asked since the last message.
    pub(super) is_listed: bool,
}

/// The credit cells of a caller, and the windows of their streams.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    /// The cells in use, by bit.
    used: u32,
    /// Items that may be under way in all streams with a cell.
    windows: u64,
}

impl Cells {
    /// A cell that no stream uses; `None` when every cell has one.
    pub(super) fn unused(&self) -> Option<usize> {
        let cell = self.used.trailing_ones() as usize;
        (cell < CELLS).then_some(cell)
    }

    /// Items that may be under way in all streams with a cell.
    pub(crate) fn windows(&self) -> u64 {
        self.windows
    }

    pub(super) fn take(&mut self, window: &Window) {
        self.used |= 1 << window.cell();
        self.windows += window.size();
    }

    /// Frees the cell of a stream whose last message has come.
    pub(super) fn free(&mut self, window: &Window) {
        self.used &= !(1 << window.cell());
        self.windows -= window.size();
    }
}

/// Whether a message of a stream's callee is an item. The route of an error reply is its kind, and may be that of an
/// item.
#[inline]
pub(crate) fn is_item(type_id: u32) -> bool {
    route_id(type_id) == ROUTE_ITEM && msg_type(type_id) != MSG_TYPE_ERROR
}

impl CallerStream {
    pub(super) fn new(msg_type: u16, deadline: Deadline, window: Window) -> Self {
        Self {
            msg_type,
            deadline,
            credit: SendCredit::new(window.cell()),
            window,
            has_sent_end: false,
            arrived: VecDeque::new(),
            end: None,
            is_listed: false,
        }
    }

    /// Files a message. A message after the last one is dropped.
    ///
    /// # Errors
    /// An item without credit.
    pub(super) fn file(&mut self, is_last: bool, arrived: impl FnOnce() -> Arrived) -> Result<(), ()> {
        if self.end.is_some() {
            return Ok(());
        }
        if is_last {
            self.end = Some(Ok(arrived()));
            return Ok(());
        }
        if !self.window.note_received() {
            return Err(());
        }
        self.arrived.push_back(arrived());
        Ok(())
    }

    /// Whether the next message lies here.
    pub(crate) fn has_message(&self) -> bool {
        !self.arrived.is_empty() || self.end.is_some()
    }

    /// Whether the stream takes an item of the caller, or END.
    pub(crate) fn takes_items(&self) -> bool {
        self.end.is_none() && !self.has_sent_end
    }

    /// Whether the last message has come, and is a reply in place of END.
    pub(crate) fn ends_in_reply(&self) -> bool {
        let is_reply = |last: &Arrived| route_id(last.type_id) == 0 && msg_type(last.type_id) != MSG_TYPE_ERROR;
        matches!(&self.end, Some(Ok(last)) if is_reply(last))
    }

    /// Gives the stream up. Its window is left until the last message comes; `None` when it has come.
    pub(super) fn give_up(self) -> Option<Window> {
        self.end.is_none().then_some(self.window)
    }
}
