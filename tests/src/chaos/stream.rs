//! Streams of messages: a message carries the seed of its stream and its number. Its length follows from both, so that
//! the receiver can check it.

use core::fmt;

/// Bytes of the tag and the checksum. A shorter message has neither, and its bytes follow from its number.
pub const SHORTEST_TAGGED: usize = 12;

/// Three of four messages are shorter than this.
const USUALLY_BELOW: u64 = 257;

/// A stream of messages.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// The seed, different for each stream of a run.
    pub seed: u32,
    /// The fewest bytes of a message.
    pub least: usize,
    /// The most bytes of a message.
    pub most: usize,
}

/// The error of a message that is not the expected one.
#[derive(Debug)]
pub enum Wrong {
    /// The message has not the expected length.
    Length {
        /// The expected length.
        expected: usize,
        /// The length of the message.
        found: usize,
    },
    /// The message is another one, or of another stream.
    Tag {
        /// The expected tag.
        expected: u64,
        /// The tag of the message.
        found: u64,
    },
    /// The bytes are not the sent bytes.
    Bytes,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "{found} bytes instead of {expected}"),
            Self::Tag { expected, found } => write!(f, "the tag {found:#x} instead of {expected:#x}"),
            Self::Bytes => write!(f, "other bytes than were sent"),
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

/// The seed and the number of a tagged message.
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

    /// Writes the tag and the checksum of message `number` into `buffer`, whose other bytes fill the message. Returns
    /// the length of the message.
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

    /// Message `number`, filled with random bytes.
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

    /// Checks that `message` is the message `number`, complete and unchanged.
    ///
    /// # Errors
    /// [`Wrong`] for any other message.
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

    /// The stream of the replies to a stream of requests.
    #[must_use]
    pub fn replies(self, most: usize) -> Self {
        Self { seed: self.seed ^ 0x5EED, least: SHORTEST_TAGGED.min(most), most }
    }
}

/// The reply to a client stream: the number of its items, and the checksum of all of them.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    items: u64,
    checksum: crc32fast::Hasher,
}

impl Receipt {
    /// The number of items.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Adds the next item.
    pub fn add(&mut self, item: &[u8]) {
        self.items += 1;
        self.checksum.update(item);
    }

    /// The bytes of the reply.
    pub fn reply(&self) -> Vec<u8> {
        let checksum = self.checksum.clone().finalize();
        [&self.items.to_le_bytes()[..], &checksum.to_le_bytes()].concat()
    }

    /// Checks a reply to the client stream of request `number`.
    ///
    /// # Errors
    /// For any other reply.
    pub fn check(&self, number: u64, reply: &[u8]) -> Result<(), String> {
        let expected = self.reply();
        if *reply == *expected { Ok(()) } else { Err(format!("reply {number}: {reply:?} instead of {expected:?}")) }
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
            stream.check(number, &message).expect("a message of the stream");
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
        // The test of `tests/python/actor.py` has the same numbers.
        let lengths: Vec<usize> = (0..8).map(|number| stream.len_of(number)).collect();
        assert_eq!(lengths, [721, 111, 890, 740, 126, 24, 995, 237]);
    }
}
