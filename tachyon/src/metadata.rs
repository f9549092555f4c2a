//! Metadata: short texts beside a request, such as a trace's identity or a token.
//!
//! A request with metadata has the highest bit of its route, and this behind its payload:
//! `{ key length u8, value length u16, key, value }*`, then the length of the payload as a u32.

use core::fmt;

use thiserror::Error;

/// The bit of a type identifier that says that metadata follows the payload.
pub const METADATA: u32 = 1 << 31;

/// Most bytes of all keys and values as they travel, but those of proxies.
const LIMIT: usize = 1024;

/// The beginning of the keys of proxies.
const OF_PROXIES: &str = "link.";

/// Most bytes of the entries of proxies, so that a caller with full metadata reaches a callee behind a proxy, too.
const PROXY_LIMIT: usize = 512;

/// Bytes before the key of an entry: the lengths of key and value.
const BEFORE_KEY: usize = 3;

/// Bytes behind the last entry: the length of the payload.
const TRAILER: usize = 4;

/// Texts that travel beside a request: keys of the characters `a-z0-9._-`, each with a text.
///
/// A caller adds them with [`metadata`](crate::Caller::metadata), a handler reads them from its
/// [`Context`](crate::Context::metadata). All of them together take at most 1 KiB, with three bytes more for each.
/// Keys that begin with `link.` are for proxies, and take at most 512 bytes of their own.
///
/// ```
/// use tachyon::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("tenant", "acme")?;
/// metadata.insert("tenant", "globex")?; // replaces
/// assert_eq!(metadata.get("tenant"), Some("globex"));
/// assert_eq!(metadata.get("token"), None);
/// assert!(metadata.insert("Region", "acme").is_err());
/// # Ok::<(), tachyon::rpc::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// In the order of their insertion.
    entries: Vec<(Box<str>, Box<str>)>,
}

/// Why an entry cannot travel. The metadata is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The key is empty, longer than 255 bytes, or has another character.
    #[error("{key:?} is no key of metadata: a key has 1 to 255 of the characters a-z, 0-9, `.`, `_` and `-`")]
    Key {
        /// The key.
        key: String,
    },
    /// All entries together would be too long.
    #[error("the metadata of a call takes at most {max} bytes, and with {key:?} it would be {size}; send less of it")]
    TooLarge {
        /// The key of the refused entry.
        key: String,
        /// Bytes with it.
        size: usize,
        /// Most bytes.
        max: usize,
    },
}

impl Metadata {
    /// Without entries.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds an entry, or replaces the one with this key.
    ///
    /// # Errors
    /// [`MetadataError`]: the key has another character than `a-z0-9._-`, or the metadata would be longer than 1 KiB;
    /// that of proxies, longer than 512 bytes.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), MetadataError> {
        if !is_key(key.as_bytes()) {
            return Err(MetadataError::Key { key: key.to_owned() });
        }
        let at = self.entries.iter().position(|(other, _)| **other == *key);
        let before = at.map_or(0, |at| entry_len(&self.entries[at].0, &self.entries[at].1));
        let of_proxies = is_of_proxies(key);
        let max = if of_proxies { PROXY_LIMIT } else { LIMIT };
        let size = self.len_of(of_proxies) - before + entry_len(key, value);
        if size > max {
            return Err(MetadataError::TooLarge { key: key.to_owned(), size, max });
        }
        match at {
            Some(at) => self.entries[at].1 = value.into(),
            None => self.entries.push((key.into(), value.into())),
        }
        Ok(())
    }

    /// The metadata of a request without metadata.
    pub(crate) fn none() -> &'static Self {
        static NONE: Metadata = Metadata::new();
        &NONE
    }

    /// The text of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| (other == key).then_some(value))
    }

    /// Keys and texts, in the order of their insertion.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entries_len(&self) -> usize {
        self.iter().map(|(key, value)| entry_len(key, value)).sum()
    }

    /// Bytes of the entries of proxies, or of the others.
    fn len_of(&self, of_proxies: bool) -> usize {
        let own = self.iter().filter(|(key, _)| is_of_proxies(key) == of_proxies);
        own.map(|(key, value)| entry_len(key, value)).sum()
    }

    /// Bytes behind the payload of a request with this metadata.
    pub(crate) fn tail_len(&self) -> usize {
        self.entries_len() + TRAILER
    }

    /// Writes what follows a payload of `payload_len` bytes to `out`, of [`tail_len`](Self::tail_len) bytes.
    #[allow(clippy::cast_possible_truncation, reason = "a key, a value and a message are limited where they are made")]
    pub(crate) fn write_tail(&self, payload_len: usize, out: &mut [u8]) {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        for (key, value) in self.iter() {
            put(&[key.len() as u8]);
            put(&(value.len() as u16).to_le_bytes());
            put(key.as_bytes());
            put(value.as_bytes());
        }
        put(&(payload_len as u32).to_le_bytes());
    }

    /// The metadata as a message without a payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = vec![0; self.tail_len()];
        self.write_tail(0, &mut encoded);
        encoded
    }

    /// Splits a message with metadata: the length of its payload, and the metadata, which is copied before it is
    /// checked. `None` when no caller writes such a message.
    #[cold]
    pub(crate) fn split(message: &[u8]) -> Option<(usize, Self)> {
        let entries_end = message.len().checked_sub(TRAILER)?;
        let mut trailer = [0; TRAILER];
        trailer.copy_from_slice(&message[entries_end..]);
        let payload_len = u32::from_le_bytes(trailer) as usize;
        if payload_len > entries_end || entries_end - payload_len > LIMIT + PROXY_LIMIT {
            return None;
        }
        let copied = message[payload_len..entries_end].to_vec();
        let mut rest = &copied[..];
        let mut metadata = Self::new();
        while let Some((&[key_len, low, high], behind)) = rest.split_first_chunk::<BEFORE_KEY>() {
            let (key, behind) = behind.split_at_checked(usize::from(key_len))?;
            let (value, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
            if !is_key(key) {
                return None;
            }
            let text = |bytes: &[u8]| core::str::from_utf8(bytes).ok().map(Box::from);
            let (key, value): (Box<str>, Box<str>) = (text(key)?, text(value)?);
            if metadata.get(&key).is_some() {
                return None;
            }
            metadata.entries.push((key, value));
            rest = behind;
        }
        let fits = metadata.len_of(false) <= LIMIT && metadata.len_of(true) <= PROXY_LIMIT;
        (rest.is_empty() && fits).then_some((payload_len, metadata))
    }
}

/// The keys alone: a text may be a secret.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

fn entry_len(key: &str, value: &str) -> usize {
    BEFORE_KEY + key.len() + value.len()
}

fn is_of_proxies(key: &str) -> bool {
    key.starts_with(OF_PROXIES)
}

fn is_key(key: &[u8]) -> bool {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=255).contains(&key.len()) && key.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8], metadata: &Metadata) -> Vec<u8> {
        let mut message = payload.to_vec();
        message.resize(payload.len() + metadata.tail_len(), 0);
        metadata.write_tail(payload.len(), &mut message[payload.len()..]);
        message
    }

    fn two() -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("traceparent", "00-ab-01").unwrap();
        metadata.insert("tenant", "").unwrap();
        metadata
    }

    #[test]
    fn metadata_lies_as_the_wire_format_says() {
        let expected = [b"abc", &[11, 8, 0][..], b"traceparent00-ab-01", &[6, 0, 0], b"tenant", &[3, 0, 0, 0]].concat();
        assert_eq!(message(b"abc", &two()), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        for payload in [&b""[..], b"x", b"12345678"] {
            for metadata in [Metadata::new(), two()] {
                assert_eq!(Metadata::split(&message(payload, &metadata)), Some((payload.len(), metadata)));
            }
        }
    }

    #[test]
    fn no_key_of_other_characters_and_no_more_than_fits() {
        let mut metadata = two();
        for key in ["", "Region", "a b", "ä", &"k".repeat(256)] {
            assert_eq!(metadata.insert(key, ""), Err(MetadataError::Key { key: key.to_owned() }));
        }
        let left = LIMIT - metadata.entries_len() - BEFORE_KEY - 1;
        let too_long = metadata.insert("k", &"v".repeat(left + 1));
        assert_eq!(too_long, Err(MetadataError::TooLarge { key: "k".to_owned(), size: LIMIT + 1, max: LIMIT }));
        assert_eq!(metadata, two());
        metadata.insert("k", &"v".repeat(left)).unwrap();
        assert_eq!(metadata.entries_len(), LIMIT);
        // A longer text in place of a long one.
        metadata.insert("k", &"w".repeat(left)).unwrap();
        assert_eq!(Metadata::split(&message(b"", &metadata)), Some((0, metadata.clone())));
        // Proxies have room of their own.
        let left = PROXY_LIMIT - BEFORE_KEY - "link.x".len();
        let too_long = metadata.insert("link.x", &"v".repeat(left + 1));
        let expected = MetadataError::TooLarge { key: "link.x".to_owned(), size: PROXY_LIMIT + 1, max: PROXY_LIMIT };
        assert_eq!(too_long, Err(expected));
        metadata.insert("link.x", &"v".repeat(left)).unwrap();
        assert_eq!(Metadata::split(&message(b"abc", &metadata)), Some((3, metadata.clone())));
        // Neither may use the other's.
        let entry = |key: &str, value: &str| Metadata { entries: vec![(key.into(), value.into())] };
        for (key, most) in [("k", LIMIT), ("link.x", PROXY_LIMIT)] {
            let longest = most - BEFORE_KEY - key.len();
            let (fits, too_long) = (entry(key, &"v".repeat(longest)), entry(key, &"v".repeat(longest + 1)));
            assert!(Metadata::split(&message(b"", &fits)).is_some());
            assert_eq!(Metadata::split(&message(b"", &too_long)), None, "{key}");
        }
    }

    #[test]
    fn no_message_of_another_form_is_split() {
        let good = message(b"abc", &two());
        for cut in 0..good.len() {
            let split = Metadata::split(&good[..cut]);
            assert!(split.is_none(), "{cut}: {split:?}");
        }
        for (at, byte) in [(3, 200), (4, 200), (6, b'T'), (17, 0xFF), (good.len() - 4, 255), (good.len() - 1, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Metadata::split(&bad), None, "{at}");
        }
        let twice = [&[1, 0, 0, b'k', 1, 0, 0, b'k'][..], &[0; 4]].concat();
        assert_eq!(Metadata::split(&twice), None);
        assert_eq!(Metadata::split(&[&[1; LIMIT + PROXY_LIMIT + 1][..], &[0; 4]].concat()), None);
    }
}
