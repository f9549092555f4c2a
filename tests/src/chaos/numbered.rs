//! Messages that say themselves where they belong: a stream is known by its seed, and each of its messages by its
//! number. Their lengths follow from both, so that whoever receives one knows what to expect of it.

use core::fmt;

/// Bytes of the tag and the checksum; a shorter message has neither, and is known by its few bytes.
pub const SHORTEST_TAGGED: usize = 12;

/// Shorter than this most messages are, whatever the longest may be.
const USUALLY_BELOW: u64 = 257;

/// A stream of messages: which one it is, and how long its messages may be.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Its name, different from those of other streams of a run.
    pub seed: u32,
    /// The fewest bytes of a message.
    pub least: usize,
    /// The most bytes of a message.
    pub most: usize,
}

/// What is wrong with a message.
#[derive(Debug)]
pub enum Wrong {
    /// It is not as long as the message of its number.
    Length {
        /// The length that was due.
        expected: usize,
        /// The length that came.
        found: usize,
    },
    /// It belongs elsewhere.
    Tag {
        /// The tag that was due.
        expected: u64,
        /// The tag that came.
        found: u64,
    },
    /// Its bytes are not those that were sent.
    Bytes,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "{found} bytes where {expected} were due"),
            Self::Tag { expected, found } => write!(f, "the tag {found:#x} where {expected:#x} was due"),
            Self::Bytes => write!(f, "bytes that nobody sent"),
        }
    }
}

impl std::error::Error for Wrong {}

/// The finalizer of `SplitMix64`.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// What a tagged message says: its stream's seed and its number.
pub fn tag_of(message: &[u8]) -> Option<(u32, u64)> {
    let tag = message.first_chunk::<8>().filter(|_| message.len() >= SHORTEST_TAGGED)?;
    let tag = u64::from_le_bytes(*tag);
    Some(((tag >> 32) as u32, tag & u64::from(u32::MAX)))
}

impl Stream {
    fn tag(self, number: u64) -> u64 {
        u64::from(self.seed) << 32 | (number & u64::from(u32::MAX))
    }

    /// The length of message `number`.
    #[allow(clippy::cast_possible_truncation, reason = "a length is at most `most`")]
    pub fn len_of(self, number: u64) -> usize {
        let chance = mix(self.tag(number));
        let span = (self.most - self.least) as u64 + 1;
        let span = if chance.is_multiple_of(4) { span } else { span.min(USUALLY_BELOW) };
        self.least + ((chance >> 16) % span) as usize
    }

    /// Writes message `number` to the beginning of `buffer`, whose other bytes are its filling, and gives its length.
    ///
    /// # Panics
    /// When the buffer is shorter than the message.
    pub fn write(self, number: u64, buffer: &mut [u8]) -> usize {
        let len = self.len_of(number);
        let message = &mut buffer[..len];
        if len < SHORTEST_TAGGED {
            message.copy_from_slice(&self.untagged(number)[..len]);
        } else {
            message[..8].copy_from_slice(&self.tag(number).to_le_bytes());
            let (body, checksum) = message.split_at_mut(len - 4);
            checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        }
        len
    }

    /// Message `number`, filled with chance.
    pub fn message(self, number: u64, chance: &mut fastrand::Rng) -> Vec<u8> {
        let mut message = vec![0; self.len_of(number)];
        chance.fill(&mut message);
        self.write(number, &mut message);
        message
    }

    fn untagged(self, number: u64) -> [u8; SHORTEST_TAGGED] {
        let mut bytes = [0; SHORTEST_TAGGED];
        bytes[..8].copy_from_slice(&mix(!self.tag(number)).to_le_bytes());
        bytes
    }

    /// Checks that `message` is the one with this number, whole and unchanged.
    ///
    /// # Errors
    /// [`Wrong`], if it is another one.
    pub fn check(self, number: u64, message: &[u8]) -> Result<(), Wrong> {
        let (expected, found) = (self.len_of(number), message.len());
        if expected != found {
            return Err(Wrong::Length { expected, found });
        }
        if found < SHORTEST_TAGGED {
            return if *message == self.untagged(number)[..found] { Ok(()) } else { Err(Wrong::Bytes) };
        }
        let (tag, _) = message.split_first_chunk::<8>().ok_or(Wrong::Bytes)?;
        let (expected, found) = (self.tag(number), u64::from_le_bytes(*tag));
        if expected != found {
            return Err(Wrong::Tag { expected, found });
        }
        let (body, checksum) = message.split_last_chunk::<4>().ok_or(Wrong::Bytes)?;
        if crc32fast::hash(body).to_le_bytes() == *checksum { Ok(()) } else { Err(Wrong::Bytes) }
    }

    /// The replies to a stream of requests: as many, of lengths of their own.
    #[must_use]
    pub fn replies(self, most: usize) -> Self {
        Self { seed: self.seed ^ 0x5EED, least: SHORTEST_TAGGED.min(most), most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_matches_only_its_own_number() {
        let mut chance = fastrand::Rng::with_seed(1);
        let stream = Stream { seed: 7, least: 0, most: 5000 };
        let other = Stream { seed: 8, ..stream };
        for number in 0..2000 {
            let mut message = stream.message(number, &mut chance);
            stream.check(number, &message).expect("it is what was made");
            if message.len() >= SHORTEST_TAGGED {
                assert_eq!(tag_of(&message), Some((7, number)));
                assert!(other.check(number, &message).is_err());
                assert!(stream.check(number + 1, &message).is_err());
                let at = chance.usize(..message.len());
                message[at] ^= 1;
                assert!(stream.check(number, &message).is_err());
            }
        }
    }

    #[test]
    fn both_languages_compute_the_same_lengths() {
        let stream = Stream { seed: 3, least: 0, most: 1000 };
        // What `tests/python/actor.py` computes, too: its own test has the same numbers.
        let lengths: Vec<usize> = (0..8).map(|number| stream.len_of(number)).collect();
        assert_eq!(lengths, [721, 111, 890, 740, 126, 24, 995, 237]);
    }
}
