//! An open stream at its caller.

use std::collections::VecDeque;

use super::calls::{Arrived, Outcome};
use super::credit::{SendCredit, Window};
use crate::type_id::{MSG_TYPE_ERROR, msg_type, route_id};
use crate::wait::Deadline;

/// An open stream.
#[derive(Debug)]
pub(crate) struct CallerStream {
    pub(super) cell: usize,
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
    /// Whether the driver has not asked since the last message.
    pub(super) has_news: bool,
}

/// A stream that was given up.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) cell: usize,
    pub(super) window: Window,
}

impl CallerStream {
    pub(super) fn new(cell: usize, msg_type: u16, deadline: Deadline, window: Window) -> Self {
        Self {
            cell,
            msg_type,
            deadline,
            window,
            credit: SendCredit::new(cell),
            has_sent_end: false,
            arrived: VecDeque::new(),
            end: None,
            has_news: false,
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

    /// What is left of a stream that is given up; `None` when its last message has come.
    pub(super) fn give_up(self) -> Option<Closing> {
        self.end.is_none().then_some(Closing { cell: self.cell, window: self.window })
    }
}
