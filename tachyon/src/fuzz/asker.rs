//! A caller that asks what the input says, over rings it may also write over.

use std::sync::Arc;

use super::hostile::Hostile;
use crate::engine::{ErrorKind, RpcError};
use crate::ring::{Consumer, MessageHeader, Producer};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CANCEL, ROUTE_CONTROL, make_type_id, msg_type, route_id};

/// The calling end of two of a hostile peer's rings, requests in the first.
pub(crate) struct Asker {
    requests: Producer,
    replies: Consumer,
    /// What it has asked; of an honest one, what it has not been answered. Cancellations get no answer and are not
    /// here.
    pub(crate) asked: Vec<(u64, u32)>,
    /// Whether it has sent a message without a correlation id, which ends the connection.
    pub(crate) nameless: bool,
    next: u64,
}

impl Asker {
    pub(crate) fn new(hostile: &Hostile<'_>) -> Self {
        Self {
            requests: Producer::new(Arc::clone(&hostile.rings[0])),
            replies: Consumer::new(Arc::clone(&hostile.rings[1])),
            asked: Vec::new(),
            nameless: false,
            next: 1,
        }
    }

    /// Says where strikes mean something.
    pub(crate) fn aim(&self, hostile: &Hostile<'_>) {
        hostile.focus[0].set(self.requests.position());
        hostile.focus[1].set(hostile.rings[1].start().wrapping_add(self.replies.taken()));
    }

    /// Messages that the callee has not given back.
    pub(crate) fn in_flight(&self) -> usize {
        self.requests.in_flight()
    }

    /// Sends a request, or a cancellation, of the route, type, length, deadline and correlation id that `step` and the
    /// input say, if it has room.
    pub(crate) fn ask(&mut self, hostile: &Hostile<'_>, step: u8) {
        let len = usize::from(hostile.input.byte());
        let kind = u16::from(hostile.input.byte());
        let type_id = match step >> 5 {
            0..3 => u32::from(kind & 7),
            3 => make_type_id(ROUTE_CANCEL, kind & 7),
            4 | 5 => make_type_id(ROUTE_CONTROL, kind & 3),
            _ => make_type_id(kind, hostile.input.short()),
        };
        let deadline = match step >> 5 {
            2 | 4 => hostile.input.word(),
            _ => 0,
        };
        let correlation_id = if step & 16 == 0 { self.next } else { hostile.input.near(self.next) };
        let header = MessageHeader::due(type_id, correlation_id, deadline);
        if self.requests.push_slow(hostile.input.slice(len), header) == Ok(true) {
            if route_id(type_id) != ROUTE_CANCEL {
                self.asked.push((correlation_id, type_id));
            }
            self.nameless |= correlation_id == 0;
            self.next = self.next.max(correlation_id).wrapping_add(1);
        }
    }

    /// Takes all replies. Those to an honest caller are answers to its requests, of their message type or errors.
    pub(crate) fn drain(&mut self, honest: bool) {
        while let Ok(Some(frame)) = self.replies.try_take() {
            if honest {
                let index = self.asked.iter().position(|(correlation_id, _)| *correlation_id == frame.correlation_id);
                let (_, request) = self.asked.remove(index.expect("an answer to nobody"));
                check(request, frame.type_id);
            }
            let _ = self.replies.release(frame.position);
        }
    }
}

/// An answer has its request's message type, or is an error.
fn check(request: u32, reply: u32) {
    if msg_type(reply) == MSG_TYPE_ERROR {
        let error = RpcError::decode(reply, &msg_type(request).to_be_bytes());
        assert!(error.is_some_and(|error| error.kind != ErrorKind::Unspecified || route_id(reply) == 0));
    } else {
        assert_eq!(msg_type(reply), msg_type(request));
    }
}
