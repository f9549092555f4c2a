//! What a peer can do wrong in a handshake.

use std::io;

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
    #[error("descriptors that were lost: more than allowed were sent, or this process has none left (`ulimit -n`)")]
    DescriptorsLost,
    #[error(transparent)]
    Segment(#[from] ShmError),
    #[error("a doorbell that cannot be used: {0}")]
    Doorbell(#[source] io::Error),
}

/// Why a listener turned a client away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the texts below say what each variant and field is")]
pub enum Refusal {
    #[error("it runs as user {uid}")]
    ForeignUser { uid: u32 },
    #[error("it asked for a {asked}, not a {served}")]
    WrongKind { asked: &'static str, served: &'static str },
    #[error("it wants to be the {role} too")]
    RoleClash { role: &'static str },
    #[error("it did not finish the handshake in time")]
    Silent,
    #[error("it hung up during the handshake")]
    Gone,
    #[error("it sent {0}")]
    Protocol(#[from] ProtocolError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<ProtocolError>();
        travels::<Refusal>();
    }
}
