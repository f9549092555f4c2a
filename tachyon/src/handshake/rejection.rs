//! What a peer can do wrong in a handshake.

use crate::ring::CapacityError;
use crate::shm::ShmError;

/// The rule of the handshake that a peer's message breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the texts below say what each variant and field is")]
pub enum ProtocolError {
    #[error("a message of {found} bytes instead of {expected}")]
    Length { expected: usize, found: usize },
    #[error("a message that is too long for any of this protocol")]
    Oversized,
    #[error("a message that begins with {found:02x?}, which is not the magic")]
    Magic { found: [u8; 4] },
    #[error("protocol version {theirs} instead of {ours}")]
    Version { ours: u16, theirs: u16 },
    #[error("message tag {found} instead of {expected}")]
    Tag { expected: u8, found: u8 },
    #[error("kind {found}, which was not asked for or does not exist")]
    Kind { found: u8 },
    #[error("role {found}, which does not fit or does not exist")]
    Role { found: u8 },
    #[error("reserved bytes that are not zero")]
    Reserved,
    #[error("{found} rings instead of {expected}")]
    RingCount { expected: usize, found: usize },
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    #[error("a segment of {stated} bytes instead of {expected}")]
    SegmentLength { expected: usize, stated: u64 },
    #[error("{found} descriptors instead of {expected}")]
    DescriptorCount { expected: usize, found: usize },
    #[error("descriptors where none belong")]
    DescriptorsLost,
    #[error(transparent)]
    Segment(#[from] ShmError),
    #[error("more descriptors than any message has")]
    TooManyDescriptors,
    #[error("descriptors of another kind than memory files")]
    DescriptorKind,
    #[error("a message that nothing asked for")]
    Surplus,
}

/// Why a listener turned a client away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the texts below say what each variant and field is")]
pub enum Rejection {
    #[error("it runs as {}", user(*.uid))]
    ForeignUser { uid: Option<u32> },
    #[error("it asked for a {asked}, not a {served}")]
    WrongKind { asked: &'static str, served: &'static str },
    #[error("it wants to be the {role} too")]
    RoleClash { role: &'static str },
    #[error("it asked for a ring of {asked} bytes and {most} is the most allowed here")]
    RingTooLarge { asked: usize, most: usize },
    #[error("there are as many callers as are allowed here")]
    Busy,
    #[error("it only asked whether this side is there")]
    Probe,
    #[error("it runs in another time namespace, where deadlines mean something else")]
    OtherTimeNamespace,
    #[error("it did not finish the handshake in time")]
    Silent,
    #[error("it had not said what it wants when others needed its place")]
    Crowded,
    #[error("it hung up during the handshake")]
    Gone,
    #[error("it sent {0}")]
    Protocol(#[from] ProtocolError),
}

/// A user, in words.
pub(super) fn user(uid: Option<u32>) -> String {
    uid.map_or_else(|| "a user without an id here".to_owned(), |uid| format!("user {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<ProtocolError>();
        travels::<Rejection>();
    }
}
