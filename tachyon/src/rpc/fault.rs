//! Error replies: how a callee says that a call failed, on the wire and to the caller.

use core::fmt;

use thiserror::Error;

use crate::type_id::{MSG_TYPE_ERROR, make_type_id, msg_type, route_id};

/// Most bytes of an error's text that travel, cut at a character.
const TEXT_LIMIT: usize = 1024;

/// Why a callee answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorKind {
    /// The callee did not say, or said something this version does not know.
    Unspecified = 0,
    /// No endpoint is registered for the message type.
    NoHandler = 1,
    /// The handler returned an error, raised, panicked or exited.
    HandlerFailed = 2,
    /// The handler returned something that cannot be sent.
    BadReply = 3,
    /// The reply is longer than the reverse ring.
    ReplyTooLarge = 4,
    /// The request does not decode to what the handler takes.
    BadRequest = 5,
    /// The server is stopping and takes no new request.
    Stopping = 6,
    /// The caller's deadline had passed before the request's turn came.
    DeadlinePassed = 7,
}

impl ErrorKind {
    const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::NoHandler,
        Self::HandlerFailed,
        Self::BadReply,
        Self::ReplyTooLarge,
        Self::BadRequest,
        Self::Stopping,
        Self::DeadlinePassed,
    ];

    /// The kind that an error reply's route, or a count of failures, names.
    pub(crate) fn from_number(number: u16) -> Self {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number).unwrap_or(Self::Unspecified)
    }

    /// The kind's name in one word, the same in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "Unspecified",
            Self::NoHandler => "NoHandler",
            Self::HandlerFailed => "HandlerFailed",
            Self::BadReply => "BadReply",
            Self::ReplyTooLarge => "ReplyTooLarge",
            Self::BadRequest => "BadRequest",
            Self::Stopping => "Stopping",
            Self::DeadlinePassed => "DeadlinePassed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the callee reported a failure",
            Self::NoHandler => "the callee has no endpoint for it",
            Self::HandlerFailed => "its handler failed",
            Self::BadReply => "its handler returned something that cannot be sent",
            Self::ReplyTooLarge => "its reply is larger than the reverse ring",
            Self::BadRequest => "the request is not what its handler takes",
            Self::Stopping => "the server is stopping",
            Self::DeadlinePassed => "its deadline had passed before its turn came",
        })
    }
}

/// A call that the callee answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("call of msg_type {msg_type}: {kind}{}{text}", if text.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct RpcError {
    /// What went wrong, in general.
    pub kind: ErrorKind,
    /// The message type of the request.
    pub msg_type: u16,
    /// What went wrong, in the callee's words; empty unless the callee sends error texts.
    pub text: String,
}

impl RpcError {
    /// Reads a reply; `None` when it is not an error.
    #[inline]
    pub(crate) fn decode(type_id: u32, payload: &[u8]) -> Option<Self> {
        if msg_type(type_id) == MSG_TYPE_ERROR { Some(Self::read(type_id, payload)) } else { None }
    }

    #[cold]
    fn read(type_id: u32, payload: &[u8]) -> Self {
        let (of, text) =
            payload.split_first_chunk().map_or((MSG_TYPE_ERROR, payload), |(of, text)| (u16::from_be_bytes(*of), text));
        Self { kind: ErrorKind::from_number(route_id(type_id)), msg_type: of, text: copied_text(text) }
    }
}

/// The text in bytes that a peer can still write to: copied first and checked then, or what was text when it was looked
/// at could be none when it is copied.
fn copied_text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned())
}

/// An error reply as it travels.
pub(crate) struct ErrorReply {
    pub(crate) type_id: u32,
    pub(crate) payload: Vec<u8>,
}

impl ErrorReply {
    /// The reply to a request of `of`, of at most `limit` bytes.
    pub(crate) fn encode(of: u16, kind: ErrorKind, text: &str, limit: usize) -> Self {
        let mut payload = of.to_be_bytes().to_vec();
        let room = limit.saturating_sub(payload.len()).min(TEXT_LIMIT);
        payload.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(room)]);
        payload.truncate(limit);
        Self { type_id: make_type_id(kind as u16, MSG_TYPE_ERROR), payload }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

    use super::*;

    #[test]
    fn two_bytes_by_default() {
        let reply = ErrorReply::encode(404, ErrorKind::NoHandler, "", 4096);
        assert_eq!(reply.payload, [0x01, 0x94]);
        assert_eq!(reply.type_id, 0x0001_FFFF);
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in ErrorKind::ALL {
            let reply = ErrorReply::encode(7, kind, "why", 4096);
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

    /// Bytes that are text at every moment, as a peer may change them while they are read. A mix of two moments need not
    /// be.
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
    fn text_is_cut_at_a_character_and_fits_the_ring() {
        let long = "ä".repeat(TEXT_LIMIT);
        let reply = ErrorReply::encode(1, ErrorKind::HandlerFailed, &long, 4096);
        assert!(reply.payload.len() <= 2 + TEXT_LIMIT);
        assert!(core::str::from_utf8(&reply.payload[2..]).is_ok());
        for limit in 0..6 {
            let reply = ErrorReply::encode(1, ErrorKind::HandlerFailed, "äää", limit);
            assert!(reply.payload.len() <= limit);
            assert!(RpcError::decode(reply.type_id, &reply.payload).is_some());
        }
    }
}
