//! A caller that sends the requests of the input, over rings that the input may also overwrite.

use std::sync::Arc;

use super::hostile::Hostile;
use crate::engine::{ErrorKind, RpcError, is_item};
use crate::metadata::{METADATA, Metadata};
use crate::ring::{CELLS, Consumer, MessageHeader, Producer};
use crate::type_id::{
    MSG_TYPE_ERROR, ROUTE_CANCEL, ROUTE_CONTROL, ROUTE_END, ROUTE_ITEM, ROUTE_OPEN, make_type_id, msg_type, route_id,
};

/// Items that the scripted caller lets a callee send ahead.
const WINDOW: u64 = 3;

/// Bits of a step for a message of a stream.
const OPEN: u16 = 1;
const ITEM: u16 = 2;
const END: u16 = 3;

/// The calling end of a hostile peer's rings: requests in ring 0, replies in ring 1.
pub(crate) struct ScriptedCaller {
    requests: Producer,
    replies: Consumer,
    /// Correlation id and type id of each request; [`drain`](Self::drain) removes the answered requests of an honest
    /// caller, and the streams that have ended. A cancellation gets no answer and is not in the list, and neither are
    /// items and ENDs.
    pub(crate) asked: Vec<(u64, u32)>,
    /// Whether a message was sent that may end the connection: one without a correlation id, or one of a stream that no
    /// correct caller sends.
    pub(crate) lawless: bool,
    next: u64,
    /// By credit cell: items that the stream with the cell may have sent, and has sent.
    credit: [(u64, u64); CELLS],
    /// Open streams whose END was sent.
    ended: Vec<u64>,
}

/// The credit cell of an OPEN.
fn cell_of(type_id: u32) -> Option<usize> {
    let cell = usize::from(route_id(type_id & !METADATA).wrapping_sub(ROUTE_OPEN));
    (cell < CELLS).then_some(cell)
}

impl ScriptedCaller {
    pub(crate) fn new(hostile: &Hostile<'_>) -> Self {
        Self {
            requests: Producer::new(Arc::clone(&hostile.rings[0])),
            replies: Consumer::new(Arc::clone(&hostile.rings[1])),
            asked: Vec::new(),
            lawless: false,
            next: 1,
            credit: [(0, 0); CELLS],
            ended: Vec::new(),
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
            _ => match kind & 3 {
                OPEN => make_type_id(ROUTE_OPEN + (kind >> 2 & 31), hostile.input.short() & 7),
                ITEM => make_type_id(ROUTE_ITEM, 6),
                END => make_type_id(ROUTE_END, 6),
                _ => make_type_id(kind, hostile.input.short()),
            },
        };
        let deadline = match step >> 5 {
            2 | 4 => hostile.input.word(),
            _ => 0,
        };
        let payload = match step >> 5 {
            6 => with_metadata(hostile.input.slice(len), kind),
            _ => hostile.input.slice(len).to_vec(),
        };
        let mut correlation_id = if step & 16 == 0 { self.next } else { hostile.input.near(self.next) };
        let of_stream = matches!(route_id(type_id), ROUTE_CANCEL | ROUTE_ITEM | ROUTE_END);
        if !of_stream && self.is_open(correlation_id) && kind < 240 {
            // A stream's id is in use.
            correlation_id = self.next;
        }
        let is_lawless = !self.is_lawful(type_id, correlation_id);
        if let Some(cell) = cell_of(type_id).filter(|_| !is_lawless) {
            self.credit[cell] = (WINDOW, 0);
            self.replies.grant(cell, WINDOW);
        }
        let header = MessageHeader::due(type_id, correlation_id, deadline);
        if self.requests.push_slow(&payload, header) == Ok(true) {
            if !of_stream {
                self.asked.push((correlation_id, type_id));
            }
            if route_id(type_id) == ROUTE_END {
                self.ended.push(correlation_id);
            }
            self.lawless |= is_lawless;
            self.next = self.next.max(correlation_id).wrapping_add(1);
        }
    }

    /// Whether a stream with this id is open.
    fn is_open(&self, id: u64) -> bool {
        self.asked.iter().any(|(asked, of)| *asked == id && cell_of(*of).is_some())
    }

    /// Whether a correct caller may send a message of this type now.
    fn is_lawful(&self, type_id: u32, id: u64) -> bool {
        let is_lawful = match route_id(type_id) {
            ROUTE_ITEM => !self.is_open(id),
            ROUTE_END => !self.is_open(id) || !self.ended.contains(&id),
            ROUTE_CANCEL => true,
            _ => {
                let cell = cell_of(type_id);
                let has_cell = cell.is_some_and(|cell| self.asked.iter().any(|(_, of)| cell_of(*of) == Some(cell)));
                !has_cell && !self.is_open(id)
            }
        };
        is_lawful && id != 0
    }

    /// Takes all replies. A reply to an honest caller answers one of its requests, with the request's message type or
    /// with an error. An item of a stream has credit.
    pub(crate) fn drain(&mut self, honest: bool) {
        while let Ok(Some(frame)) = self.replies.try_take() {
            let asked = self.asked.iter().find(|(id, _)| *id == frame.correlation_id);
            if let Some(cell) = asked.and_then(|(_, of)| cell_of(*of)).filter(|_| is_item(frame.type_id)) {
                let (granted, received) = &mut self.credit[cell];
                *received += 1;
                assert!(!honest || self.lawless || *received <= *granted, "an item without credit");
                *granted = (*granted).max(*received + WINDOW - 1);
                self.replies.grant(cell, *granted);
            } else if honest && !self.lawless {
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

/// Checks that a reply has its request's message type, or is an error. The last message of a stream of replies is END.
fn check(request: u32, reply: u32) {
    assert!(msg_type(reply) == MSG_TYPE_ERROR || cell_of(request).is_some() == (route_id(reply) == ROUTE_END));
    if msg_type(reply) == MSG_TYPE_ERROR {
        let error = RpcError::decode(reply, &msg_type(request).to_be_bytes());
        assert!(error.is_some_and(|error| error.kind != ErrorKind::Unspecified || route_id(reply) == 0));
    } else {
        assert_eq!(msg_type(reply), msg_type(request));
    }
}
