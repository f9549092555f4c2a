//! Error replies: how a callee says that a call failed, on the wire and to the caller.

use std::borrow::Cow;

use thiserror::Error;

use crate::aligned::AlignedBytes;
use crate::connection::{Tx, Unsent};
use crate::error_kind::ErrorKind;
use crate::ring::MessageHeader;
use crate::schema::payload::{DeclaredError, align8};
use crate::type_id::{MSG_TYPE_ERROR, make_type_id, msg_type, route_id};

/// Most bytes of an error's text that travel.
const TEXT_LIMIT: usize = 1024;

/// Most bytes of a declared error's fields that travel.
const FIELDS_LIMIT: usize = 4096;

/// Bytes before the name: message type, length of the name, length of the text.
const BEFORE_NAME: usize = 8;

/// The end of a text that was cut.
const CUT: char = '\u{2026}';

/// A call that the callee answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("call of msg_type {msg_type}: {kind}{}{text}", if text.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct RpcError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The message type of the request.
    pub msg_type: u16,
    /// The callee's text; empty if the callee sent none. A text that ends in `\u{2026}` was cut.
    pub text: String,
    /// The name of the error, if the endpoint declares it or its callee named it; empty otherwise.
    pub name: String,
    /// The declared error's fields.
    pub(crate) fields: AlignedBytes,
}

impl RpcError {
    /// An error of a callee that answered a call of `msg_type` over a carrier of its own, as a proxy's other half gets
    /// it. `name` and `fields` are those of a declared error, or empty.
    pub fn new(kind: ErrorKind, msg_type: u16, text: String, name: String, fields: &[u8]) -> Self {
        Self { kind, msg_type, text, name, fields: fields.into() }
    }

    /// The fields of a declared error as they travel.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// Reads a reply; `None` when it is not an error.
    #[inline]
    pub(crate) fn decode(type_id: u32, payload: &[u8]) -> Option<Self> {
        if msg_type(type_id) == MSG_TYPE_ERROR { Some(Self::read(type_id, payload)) } else { None }
    }

    /// An error of a kind and no more.
    #[cfg(test)]
    pub(crate) fn of_kind(kind: ErrorKind, msg_type: u16) -> Self {
        Self { kind, msg_type, text: String::new(), name: String::new(), fields: [][..].into() }
    }

    /// A declared error without its type. The message type of its request is not kept.
    pub(crate) fn declared<E: DeclaredError>(error: &E) -> Self {
        let (name, fields) = error.encode();
        Self {
            kind: error.kind(),
            msg_type: MSG_TYPE_ERROR,
            text: error.to_string(),
            name: name.to_owned(),
            fields: fields.as_slice().into(),
        }
    }

    #[cold]
    fn read(type_id: u32, payload: &[u8]) -> Self {
        // Copied first: a peer can still write to it, and what was text when it was checked must be what is kept.
        let payload = payload.to_vec();
        let of = payload.first_chunk().map_or(MSG_TYPE_ERROR, |of| u16::from_be_bytes(*of));
        let (name, text, fields) = body_of(&payload).unwrap_or_default();
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            kind: ErrorKind::from_number(route_id(type_id)),
            msg_type: of,
            text: text_of(text),
            name: text_of(name),
            fields: fields.into(),
        }
    }
}

/// Name, text and fields of an error reply; `None` when it has none, or lengths that go beyond it.
fn body_of(payload: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (before, body) = payload.split_first_chunk::<BEFORE_NAME>()?;
    let [_, _, name_low, name_high, text_len @ ..] = *before;
    let (name, rest) = body.split_at_checked(usize::from(u16::from_le_bytes([name_low, name_high])))?;
    let (text, _) = rest.split_at_checked(u32::from_le_bytes(text_len) as usize)?;
    let end = align8(BEFORE_NAME + name.len() + text.len());
    Some((name, text, payload.get(end..).unwrap_or_default()))
}

/// The parts of an error besides its kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ErrorBody<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// A head.
    pub(crate) fields: &'a [u8],
}

impl<'a> ErrorBody<'a> {
    /// A text alone.
    pub(crate) fn text(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }
}

/// An error reply as it travels.
pub(crate) struct ErrorReply {
    pub(crate) type_id: u32,
    pub(crate) payload: Vec<u8>,
}

impl ErrorReply {
    /// The reply to a request of `of`, of at most `limit` bytes. In a small ring the fields go first, then the end of
    /// the text, then the name.
    pub(crate) fn encode(of: u16, kind: ErrorKind, body: ErrorBody<'_>, limit: usize) -> Self {
        let mut payload = of.to_be_bytes().to_vec();
        let room = limit.saturating_sub(BEFORE_NAME);
        let name = if body.name.len() <= room.min(usize::from(u16::MAX)) { body.name } else { "" };
        let text = shortened(body.text, (room - name.len().min(room)).min(TEXT_LIMIT));
        if !(name.is_empty() && text.is_empty()) {
            #[allow(clippy::cast_possible_truncation, reason = "both are limited above")]
            {
                payload.extend_from_slice(&(name.len() as u16).to_le_bytes());
                payload.extend_from_slice(&(text.len() as u32).to_le_bytes());
            }
            payload.extend_from_slice(name.as_bytes());
            payload.extend_from_slice(text.as_bytes());
            let fields_at = align8(payload.len());
            if !body.fields.is_empty() && body.fields.len() <= FIELDS_LIMIT && fields_at + body.fields.len() <= limit {
                payload.resize(fields_at, 0);
                payload.extend_from_slice(body.fields);
            }
        }
        payload.truncate(limit);
        Self { type_id: make_type_id(kind as u16, MSG_TYPE_ERROR), payload }
    }
}

/// The first bytes of `text`, at most `most`. A text that was cut ends in [`CUT`].
fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    match most.checked_sub(CUT.len_utf8()) {
        Some(kept) => format!("{}{CUT}", &text[..text.floor_char_boundary(kept)]).into(),
        None => "".into(),
    }
}

/// Sends an error reply, waiting for room.
#[cold]
pub(crate) fn send_error(
    tx: &mut Tx,
    correlation_id: u64,
    msg_type: u16,
    kind: ErrorKind,
    body: ErrorBody<'_>,
) -> Result<(), Unsent> {
    let reply = ErrorReply::encode(msg_type, kind, body, tx.max_len());
    tx.send_reply(&reply.payload, MessageHeader::new(reply.type_id, correlation_id))
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

    use super::*;

    #[test]
    fn two_bytes_by_default() {
        let reply = ErrorReply::encode(404, ErrorKind::NoHandler, ErrorBody::default(), 4096);
        assert_eq!(reply.payload, [0x01, 0x94]);
        assert_eq!(reply.type_id, 0x0001_FFFF);
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in ErrorKind::all() {
            let reply = ErrorReply::encode(7, kind, ErrorBody::text("why"), 4096);
            let error = RpcError::decode(reply.type_id, &reply.payload).unwrap();
            assert_eq!((error.kind, error.msg_type, error.text.as_str()), (kind, 7, "why"));
        }
    }

    #[test]
    fn a_foreign_error_reply_is_still_one() {
        let plain = RpcError::decode(0xFFFF, &[0, 9]).unwrap();
        assert_eq!((plain.kind, plain.msg_type), (ErrorKind::Unspecified, 9));
        let newer = RpcError::decode(0x00AA_FFFF, b"").unwrap();
        assert_eq!((newer.kind, newer.msg_type), (ErrorKind::Unspecified, MSG_TYPE_ERROR));
        assert_eq!(RpcError::decode(1, b"xx"), None);
    }

    /// Bytes that are text at every moment, as a peer may change them while they are read. A mix of two moments need
    /// not be.
    #[test]
    #[allow(unsafe_code, reason = "plays a peer that writes while we read")]
    fn a_text_that_changes_while_it_is_read_is_still_text() {
        const LEN: usize = 512;
        let shared: Vec<AtomicU8> = (0..LEN).map(|_| AtomicU8::new(b'a')).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let texts = ["a".repeat(LEN), "ä".repeat(LEN / 2)];
                for text in texts.iter().cycle() {
                    shared.iter().zip(text.bytes()).for_each(|(to, from)| to.store(from, Ordering::Relaxed));
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..20_000 {
                // SAFETY: the bytes live as long as the scope. That they change is what this is about; it is the same
                // in a ring, and decision 0006 says why that is lent as a slice.
                let payload = unsafe { core::slice::from_raw_parts(shared.as_ptr().cast::<u8>(), LEN) };
                let error = RpcError::decode(0xFFFF, payload).unwrap();
                assert!(core::str::from_utf8(error.text.as_bytes()).is_ok());
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_declared_error_lies_as_the_wire_format_says() {
        let body = ErrorBody { name: "NoSensor", text: "none", fields: &[8, 0, 0, 0, 3, 0, 0, 0] };
        let reply = ErrorReply::encode(4, ErrorKind::HandlerFailed, body, 4096);
        let expected = [&[0, 4, 8, 0, 4, 0, 0, 0][..], b"NoSensornone\0\0\0\0", &[8, 0, 0, 0, 3, 0, 0, 0]].concat();
        assert_eq!(reply.payload, expected);
        let error = RpcError::decode(reply.type_id, &reply.payload).unwrap();
        assert_eq!((error.name.as_str(), error.text.as_str(), &*error.fields), ("NoSensor", "none", body.fields));
    }

    #[test]
    fn text_is_cut_at_a_character_and_says_so() {
        let long = "ä".repeat(TEXT_LIMIT);
        let reply = ErrorReply::encode(1, ErrorKind::HandlerFailed, ErrorBody::text(&long), 4096);
        let error = RpcError::decode(reply.type_id, &reply.payload).unwrap();
        assert!(error.text.len() <= TEXT_LIMIT && error.text.ends_with("ä\u{2026}"));
    }

    #[test]
    fn a_small_ring_takes_fields_then_text_then_name() {
        let body = ErrorBody { name: "Busy", text: "äää", fields: &[4, 0, 0, 0] };
        let kept = |limit| {
            let reply = ErrorReply::encode(1, ErrorKind::HandlerFailed, body, limit);
            assert!(reply.payload.len() <= limit);
            let RpcError { name, text, fields, .. } = RpcError::decode(reply.type_id, &reply.payload).unwrap();
            (name, text, fields.len())
        };
        assert_eq!(kept(28), ("Busy".into(), "äää".into(), 4));
        assert_eq!(kept(27), ("Busy".into(), "äää".into(), 0));
        assert_eq!(kept(17), ("Busy".into(), "ä\u{2026}".into(), 0));
        assert_eq!(kept(12), ("Busy".into(), String::new(), 0));
        assert_eq!(kept(11), (String::new(), "\u{2026}".into(), 0));
        assert_eq!(kept(10), (String::new(), String::new(), 0));
        assert_eq!(kept(0), (String::new(), String::new(), 0));
    }

    #[test]
    fn lengths_beyond_an_error_reply_leave_it_without_words() {
        for bytes in [&[0u8, 1, 9, 0, 0, 0, 0, 0, b'x'][..], &[0, 1, 0, 0, 255, 255, 255, 255], &[0, 1, 0, 0, 0, 0, 0]]
        {
            let error = RpcError::decode(0x0002_FFFF, bytes).unwrap();
            assert_eq!((error.kind, error.msg_type), (ErrorKind::HandlerFailed, 1));
            assert!(error.text.is_empty() && error.name.is_empty() && error.fields.is_empty());
        }
    }
}
