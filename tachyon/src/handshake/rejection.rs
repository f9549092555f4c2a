//! The reasons for a failed handshake that lie with the peer.

use crate::ring::CapacityError;
use crate::shm::ShmError;

/// A rule of the handshake that a message of the peer breaks. Lengths and capacities are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the error texts describe the variants and fields")]
pub enum ProtocolError {
    #[error("a message of {found} bytes instead of {expected}")]
    Length { expected: usize, found: usize },
    #[error("a message that is too long for this protocol")]
    Oversized,
    #[error("a message that begins with {found:02x?}, which is not the magic")]
    Magic { found: [u8; 4] },
    #[error("protocol version {theirs} instead of {ours}")]
    Version { ours: u16, theirs: u16 },
    #[error("message tag {found} instead of {expected}")]
    Tag { expected: u8, found: u8 },
    #[error("kind {found}, which does not fit or does not exist")]
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
    #[error("unexpected descriptors")]
    DescriptorsLost,
    #[error(transparent)]
    Segment(#[from] ShmError),
    #[error("more descriptors than this protocol has")]
    TooManyDescriptors,
    #[error("descriptors that are no memory files")]
    DescriptorKind,
    #[error("an unexpected message")]
    Surplus,
}

/// The reason why a listener rejected a client. Sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the error texts describe the variants and fields")]
pub enum Rejection {
    #[error("it runs as {}", user(*.uid))]
    ForeignUser { uid: Option<u32> },
    #[error("it asked for a {asked}, not a {served}")]
    WrongKind { asked: &'static str, served: &'static str },
    #[error("it wants to be the {role} too")]
    RoleClash { role: &'static str },
    #[error("it asked for a ring of {asked} bytes, and the limit is {most} bytes")]
    RingTooLarge { asked: usize, most: usize },
    #[error("there are as many callers as are allowed here")]
    Busy,
    #[error("it is a probe, and a probe gets no place")]
    Probe,
    #[error("it runs in another time namespace, where deadlines differ")]
    OtherTimeNamespace,
    #[error("it did not finish the handshake in time")]
    Silent,
    #[error("it was silent when others needed its place")]
    Crowded,
    #[error("it hung up during the handshake")]
    Gone,
    #[error("it sent {0}")]
    Protocol(#[from] ProtocolError),
}

/// A user id as text.
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
