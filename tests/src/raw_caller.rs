//! A caller without the library: it sends any bytes under any type id, and reads the replies.

use std::path::Path;
use std::time::Duration;

use tachyon::ErrorKind;

use crate::wait;
use crate::wire::{Connection, RPC, SOURCE};

const PATIENCE: Duration = Duration::from_secs(30);

/// The bit of a type id that says that metadata follows the payload.
pub const METADATA: u32 = 1 << 31;

/// A kind, and the callee's text; or the reply.
pub type Answer = Result<Vec<u8>, (ErrorKind, String)>;

/// A caller. Its messages fit their slots.
#[derive(Debug)]
pub struct RawCaller {
    connection: Connection,
    sent: u64,
    received: u64,
}

impl RawCaller {
    /// Connects to a callee or a server.
    ///
    /// # Panics
    /// When the handshake fails.
    pub fn connect(path: &Path) -> Self {
        let connection = Connection::connect(path, RPC, SOURCE).expect("a callee");
        Self { connection, sent: 0, received: 0 }
    }

    /// Sends a message, whose correlation id is the number of messages sent before, and 1.
    ///
    /// # Panics
    /// When the system refuses to write.
    pub fn send(&mut self, type_id: u32, payload: &[u8]) {
        assert!(payload.len() <= 232, "{} bytes do not fit a slot", payload.len());
        let ring = &self.connection.rings[0];
        ring.publish_as(type_id, self.sent, self.sent + 1, payload).expect("a ring");
        self.sent += 1;
        self.connection.ring().expect("a peer");
    }

    /// Waits for the next reply: its type id and payload.
    ///
    /// # Panics
    /// When no reply comes.
    pub fn receive(&mut self) -> (u32, Vec<u8>) {
        let ring = &self.connection.rings[1];
        wait::until("a reply", PATIENCE, || ring.is_published(self.received).expect("a ring"));
        let reply = (ring.type_id(self.received).expect("a ring"), ring.payload(self.received).expect("a ring"));
        self.received += 1;
        ring.release(self.received).expect("a ring");
        reply
    }

    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// The kind and the text of an error reply.
    ///
    /// # Panics
    /// When no reply comes.
    pub fn exchange(&mut self, type_id: u32, payload: &[u8]) -> Answer {
        self.send(type_id, payload);
        answer(self.receive())
    }

    /// Calls with metadata.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    ///
    /// # Panics
    /// When no reply comes.
    pub fn call(&mut self, msg_type: u16, payload: &[u8], metadata: &[(&str, &str)]) -> Answer {
        self.exchange(METADATA | u32::from(msg_type), &with_metadata(payload, metadata))
    }
}

/// The answer in a reply.
///
/// # Errors
/// The kind and the text of an error reply.
pub fn answer((type_id, payload): (u32, Vec<u8>)) -> Answer {
    if type_id & 0xFFFF != 0xFFFF {
        return Ok(payload);
    }
    let kinds = [ErrorKind::NoHandler, ErrorKind::HandlerFailed, ErrorKind::BadRequest, ErrorKind::Unauthenticated];
    let kind = kinds.into_iter().find(|kind| *kind as u32 == type_id >> 16).unwrap_or(ErrorKind::Unspecified);
    let text = if payload.len() < 8 { "".into() } else { String::from_utf8_lossy(&payload[8..]) };
    Err((kind, text.trim_end_matches('\0').to_owned()))
}

/// A payload with metadata behind it, as `docs/internals/wire-format.md` defines it.
pub fn with_metadata(payload: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut message = payload.to_vec();
    for (key, value) in metadata {
        message.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        message.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        message.extend([key.as_bytes(), value.as_bytes()].concat());
    }
    message.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    message
}
