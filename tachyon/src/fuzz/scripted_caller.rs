//! A caller that sends the requests of the input, over rings that the input may also overwrite.

use std::sync::Arc;

use super::hostile::Hostile;
use crate::engine::{ErrorKind, RpcError};
use crate::metadata::{METADATA, Metadata};
use crate::ring::{Consumer, MessageHeader, Producer};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CANCEL, ROUTE_CONTROL, make_type_id, msg_type, route_id};

/// The calling end of a hostile peer's rings: requests in ring 0, replies in ring 1.
pub(crate) struct ScriptedCaller {
    requests: Producer,
    replies: Consumer,
    /// Correlation id and type id of each request; [`drain`](Self::drain) removes the answered requests of an honest
    /// caller. A cancellation gets no answer and is not in the list.
    pub(crate) asked: Vec<(u64, u32)>,
    /// Whether a message without a correlation id was sent, which ends the connection.
    pub(crate) nameless: bool,
    next: u64,
}

impl ScriptedCaller {
    pub(crate) fn new(hostile: &Hostile<'_>) -> Self {
        Self {
            requests: Producer::new(Arc::clone(&hostile.rings[0])),
            replies: Consumer::new(Arc::clone(&hostile.rings[1])),
            asked: Vec::new(),
            nameless: false,
            next: 1,
        }
    }

    /// Directs strikes to the slots in use.
    pub(crate) fn aim(&self, hostile: &Hostile<'_>) {
        hostile.focus[0].set(self.requests.position());
        hostile.focus[1].set(hostile.rings[1].start().wrapping_add(self.replies.taken()));
    }

    /// The number of messages that the callee has not released.
    pub(crate) fn in_flight(&self) -> usize {
        self.requests.in_flight()
    }

    /// Sends a request or a cancellation if the ring has room. `step` and the input choose its route, type, length,
    /// deadline and correlation id.
    pub(crate) fn ask(&mut self, hostile: &Hostile<'_>, step: u8) {
        let len = usize::from(hostile.input.byte());
        let kind = u16::from(hostile.input.byte());
        let type_id = match step >> 5 {
            0..3 => u32::from(kind & 7),
            3 => make_type_id(ROUTE_CANCEL, kind & 7),
            4 | 5 => make_type_id(ROUTE_CONTROL, kind & 3),
            6 => METADATA | u32::from(kind & 7),
            _ => make_type_id(kind, hostile.input.short()),
        };
        let deadline = match step >> 5 {
            2 | 4 => hostile.input.word(),
            _ => 0,
        };
        let payload = match step >> 5 {
            6 => with_metadata(hostile.input.slice(len), kind),
            _ => hostile.input.slice(len).to_vec(),
        };
        let correlation_id = if step & 16 == 0 { self.next } else { hostile.input.near(self.next) };
        let header = MessageHeader::due(type_id, correlation_id, deadline);
        if self.requests.push_slow(&payload, header) == Ok(true) {
            if route_id(type_id) != ROUTE_CANCEL {
                self.asked.push((correlation_id, type_id));
            }
            self.nameless |= correlation_id == 0;
            self.next = self.next.max(correlation_id).wrapping_add(1);
        }
    }

    /// Takes all replies. A reply to an honest caller answers one of its requests, with the request's message type or
    /// with an error.
    pub(crate) fn drain(&mut self, honest: bool) {
        while let Ok(Some(frame)) = self.replies.try_take() {
            if honest {
                let index = self.asked.iter().position(|(correlation_id, _)| *correlation_id == frame.correlation_id);
                let (_, request) = self.asked.remove(index.expect("the answer of a request"));
                check(request, frame.type_id);
            }
            let _ = self.replies.release(frame.position);
        }
    }
}

/// A payload with metadata behind it; malformed metadata for the even kinds, which may be any bytes.
fn with_metadata(payload: &[u8], kind: u16) -> Vec<u8> {
    let mut message = payload.to_vec();
    if kind & 1 == 1 {
        let mut metadata = Metadata::new();
        metadata.insert("tenant", if kind & 8 == 0 { "acme" } else { "" }).expect("a short text");
        message.resize(payload.len() + metadata.tail_len(), 0);
        metadata.write_tail(payload.len(), &mut message[payload.len()..]);
    }
    message
}

/// Checks that a reply has its request's message type, or is an error.
fn check(request: u32, reply: u32) {
    if msg_type(reply) == MSG_TYPE_ERROR {
        let error = RpcError::decode(reply, &msg_type(request).to_be_bytes());
        assert!(error.is_some_and(|error| error.kind != ErrorKind::Unspecified || route_id(reply) == 0));
    } else {
        assert_eq!(msg_type(reply), msg_type(request));
    }
}
