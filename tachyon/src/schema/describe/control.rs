//! Control requests, which travel under a reserved route. The message type of a control request is the operation.
//!
//! A description may be larger than the ring, so `describe` replies with a chunk of it. The caller sends a request for
//! each chunk.

/// The reply to a `describe` request: a chunk of the description.
pub(crate) struct Chunk<'a> {
    /// Length of the whole description in bytes.
    pub(crate) total: usize,
    pub(crate) bytes: &'a [u8],
}

/// The operations that a caller may ask of any callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Operation {
    /// Answer with an empty reply.
    Ping = 0,
    /// Describe the endpoints. The request is a [`Query`], the reply a [`Chunk`].
    Describe = 1,
    /// Tell lengths and the version of the description. The reply is a [`CalleeLimits`].
    Limits = 2,
}

/// Lengths of messages, and the version of the description, that a callee tells to each caller that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalleeLimits {
    /// Length of the longest possible request, in bytes.
    pub max_request: u64,
    /// Length of the longest possible reply, in bytes.
    pub max_reply: u64,
    /// A number that is the same as long as the description of all endpoints is: a hash of it. A callee that is started
    /// again with the same endpoints has the same version.
    pub version: u64,
}

impl CalleeLimits {
    /// The version of a description: its hash by FNV-1a, 64 bits
    /// (<https://datatracker.ietf.org/doc/html/rfc9923>), which is the same in every build.
    pub(crate) fn version_of(json: &str) -> u64 {
        const OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01B3;
        json.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
    }

    pub(crate) fn encode(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip([self.max_request, self.max_reply, self.version]) {
            *to = from.to_le_bytes();
        }
        bytes
    }

    /// Reads a reply, which a newer callee may have made longer.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [max_request, max_reply, version, ..] = *bytes.as_chunks().0 else { return None };
        let [max_request, max_reply, version] = [max_request, max_reply, version].map(u64::from_le_bytes);
        Some(Self { max_request, max_reply, version })
    }
}

impl Operation {
    pub(crate) fn of(msg_type: u16) -> Option<Self> {
        [Self::Ping, Self::Describe, Self::Limits].into_iter().find(|operation| *operation as u16 == msg_type)
    }
}

/// The number in a [`Query`] for all endpoints.
pub(crate) const WHOLE_TABLE: u16 = 0xFFFF;

/// Bytes of the total before the chunk.
const TOTAL_LEN: usize = 4;

/// Longest reply, in bytes. A long description shares the ring with other calls.
const MAX_CHUNK_LEN: usize = 4096;

/// A `describe` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    /// One endpoint, or [`WHOLE_TABLE`].
    pub(crate) msg_type: u16,
    /// Offset of the chunk in the description, in bytes.
    pub(crate) offset: u32,
}

impl Query {
    pub(crate) fn encode(self) -> [u8; 6] {
        let mut bytes = [0; 6];
        bytes[..2].copy_from_slice(&self.msg_type.to_le_bytes());
        bytes[2..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (msg_type, offset) = bytes.split_first_chunk()?;
        Some(Self { msg_type: u16::from_le_bytes(*msg_type), offset: u32::from_le_bytes(offset.try_into().ok()?) })
    }
}

/// The reply with the chunk of `whole` at `offset`, at most `limit` bytes long. `None` if no byte of `whole` fits.
pub(crate) fn chunk(whole: &[u8], offset: u32, limit: usize) -> Option<Vec<u8>> {
    let total = u32::try_from(whole.len()).ok()?;
    let room = limit.min(MAX_CHUNK_LEN).checked_sub(TOTAL_LEN).filter(|room| *room > 0)?;
    let rest = whole.get(offset as usize..).unwrap_or_default();
    let mut bytes = total.to_le_bytes().to_vec();
    bytes.extend_from_slice(&rest[..rest.len().min(room)]);
    Some(bytes)
}

/// Whether a description of `len` bytes has one chunk, in replies of at most `limit` bytes.
#[cfg(feature = "tokio")]
pub(crate) fn fits_chunk(len: usize, limit: usize) -> bool {
    len + TOTAL_LEN <= limit.min(MAX_CHUNK_LEN)
}

impl<'a> Chunk<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (total, bytes) = bytes.split_first_chunk::<TOTAL_LEN>()?;
        Some(Self { total: u32::from_le_bytes(*total) as usize, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_survive_the_wire_and_other_lengths_do_not() {
        let query = Query { msg_type: 0x0102, offset: 0x0304_0506 };
        assert_eq!(query.encode(), [2, 1, 6, 5, 4, 3]);
        assert_eq!(Query::decode(&query.encode()), Some(query));
        for len in [0, 1, 5, 7] {
            assert_eq!(Query::decode(&[0; 7][..len]), None);
        }
    }

    #[test]
    fn limits_lie_as_the_wire_format_says() {
        let limits = CalleeLimits { max_request: 1, max_reply: 0x0203, version: u64::MAX - 1 };
        let bytes = limits.encode();
        assert_eq!(bytes[..16], [1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..], (u64::MAX - 1).to_le_bytes());
        assert_eq!(CalleeLimits::decode(&bytes), Some(limits));
        assert_eq!(CalleeLimits::decode(&[&bytes[..], b"newer"].concat()), Some(limits));
        assert_eq!(CalleeLimits::decode(&bytes[..23]), None);
        // Of RFC 9923, appendix C.
        assert_eq!(CalleeLimits::version_of(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(CalleeLimits::version_of("a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(CalleeLimits::version_of("foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn chunks_put_together_are_the_whole() {
        let whole: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
        for limit in [5, 8, 64, 1 << 20] {
            let mut found = Vec::new();
            while found.len() < whole.len() {
                let bytes = chunk(&whole, u32::try_from(found.len()).unwrap(), limit).unwrap();
                assert!(bytes.len() <= limit);
                let chunk = Chunk::decode(&bytes).unwrap();
                assert_eq!(chunk.total, whole.len());
                assert!(!chunk.bytes.is_empty());
                found.extend_from_slice(chunk.bytes);
            }
            assert_eq!(found, whole);
        }
        assert!(chunk(&whole, 0, 4).is_none());
        assert_eq!(chunk(&whole, u32::MAX, 64).unwrap().len(), TOTAL_LEN);
    }
}
