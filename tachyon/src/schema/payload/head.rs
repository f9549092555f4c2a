//! Heads: the fields of a variable payload, of several arguments, of a declared error, and the parts behind them.
//!
//! `docs/internals/wire-format.md` defines the bytes. A reader copies the head once, and checks only the copy.

use super::fixed::{Fixed, bytes_of, copy_once, read_private};
use super::malformed::{BoxedMalformed, Malformed};

/// Longest head, in bytes. A reader copies the head to the stack.
pub(crate) const MAX_HEAD: usize = 4096;

/// Bytes before the first field: the head's length.
const LEN_SIZE: usize = 4;

/// Size and alignment of a pair, in bytes.
pub(crate) const PAIR: (usize, usize) = (8, 4);

/// The next multiple of 8.
#[inline]
pub const fn align8(len: usize) -> usize {
    // No slice is so long that this overflows.
    (len + 7) & !7
}

/// The offsets of fields of these sizes and alignments, and last the end of the head, in bytes.
///
/// # Panics
/// When the head is longer than 4096 bytes. The macro calls this function in constants, so the panic is a compile
/// error.
#[track_caller]
pub const fn offsets<const N: usize, const M: usize>(fields: [(usize, usize); N]) -> [usize; M] {
    assert!(M == N + 1);
    let mut offsets = [0; M];
    let mut end = LEN_SIZE;
    let mut at = 0;
    while at < N {
        let (size, align) = fields[at];
        offsets[at] = end.next_multiple_of(align);
        end = offsets[at] + size;
        at += 1;
    }
    offsets[N] = end;
    assert!(
        end <= MAX_HEAD,
        "fixed values of more than 4096 bytes beside others: make the array a `Vec`, or take `&[T]` of a payload"
    );
    offsets
}

/// A head that is being read: a copy of its bytes, and the part that begins with it.
#[derive(Debug)]
pub struct Head<'a, B> {
    copy: B,
    /// Bytes of the copy that the sender has written.
    len: usize,
    /// The offset from which the next part may begin.
    end: usize,
    part: &'a [u8],
}

impl<'a, const N: usize> Head<'a, [u8; N]> {
    /// Copies the head of `part`, of which this side knows `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`]: the head is longer than the part, or shorter than its length word.
    #[inline]
    pub fn open(part: &'a [u8], name: &'static str) -> Result<Self, BoxedMalformed> {
        let mut copy = [0; N];
        if let Some(known) = part.get(..N) {
            copy_once(known, &mut copy);
        } else {
            copy_once(part, &mut copy[..part.len()]);
        }
        Self::over(copy, part, name)
    }
}

impl<'a, B: AsRef<[u8]>> Head<'a, B> {
    /// The head of `part`, by a copy of the bytes that this side knows; the copy has zeros where `part` is shorter.
    ///
    /// # Errors
    /// Those of [`open`](Head::open).
    #[inline]
    pub(crate) fn over(copy: B, part: &'a [u8], name: &str) -> Result<Self, BoxedMalformed> {
        let known = copy.as_ref();
        let said = match known.first_chunk() {
            Some(len) if part.len() >= LEN_SIZE => u32::from_le_bytes(*len) as usize,
            _ => 0,
        };
        if said < LEN_SIZE || said > part.len() {
            return Err(Malformed::head(name, said, part.len()));
        }
        Ok(Self { len: said.min(known.len()), copy, end: align8(said), part })
    }

    /// The bytes of the field at `at`, of this size; `None` when the sender does not know the field.
    #[inline]
    fn field(&self, at: usize, size: usize, place: &str) -> Result<Option<&[u8]>, BoxedMalformed> {
        if at + size <= self.len {
            return Ok(Some(&self.copy.as_ref()[at..at + size]));
        }
        if at < self.len { Err(Malformed::cut(place)) } else { Ok(None) }
    }

    /// The fixed value at `at`.
    ///
    /// # Errors
    /// [`Malformed`]: the value is missing, cut or invalid.
    #[inline]
    pub(crate) fn fixed<T: Fixed>(&self, at: usize, place: &str) -> Result<T, BoxedMalformed> {
        match self.field(at, size_of::<T>(), place)? {
            Some(bytes) => read_private(bytes).map_err(|problem| problem.at(place)),
            None => Err(Malformed::missing(place)),
        }
    }

    /// The bytes of the fixed value at `at`, not yet checked; `None` when the sender does not know the field.
    ///
    /// # Errors
    /// [`Malformed`]: the value is cut.
    pub(crate) fn fixed_bytes(&self, at: usize, size: usize, place: &str) -> Result<Option<&[u8]>, BoxedMalformed> {
        self.field(at, size, place)
    }

    /// The part that the pair at `at` names; `None` when the part is absent. A reader asks for parts in the order of
    /// their fields.
    ///
    /// # Errors
    /// [`Malformed`]: the pair is cut, or its part lies outside of the message or not behind the previous part.
    #[inline]
    pub(crate) fn part(&mut self, at: usize, place: &str) -> Result<Option<&'a [u8]>, BoxedMalformed> {
        let Some(pair) = self.field(at, PAIR.0, place)? else { return Ok(None) };
        let pair = Pair::decode(pair);
        cut(self.part, pair, &mut self.end, place)
    }
}

/// Offset and length of a part, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    offset: u32,
    len: u32,
}

impl Pair {
    /// # Panics
    /// When `bytes` is not 8 bytes long.
    #[inline]
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let word = u64::from_le_bytes(bytes.try_into().expect("a pair has 8 bytes"));
        #[allow(clippy::cast_possible_truncation, reason = "the two halves of a word")]
        let (offset, len) = (word as u32, (word >> 32) as u32);
        Self { offset, len }
    }
}

/// The part of `blob` that `pair` names; `None` when the pair is zero. The part begins at `end` or later, and `end`
/// becomes its end.
///
/// # Errors
/// [`Malformed`]: the part begins before `end`, not at a multiple of 8, or lies outside of `blob`.
#[inline]
pub(crate) fn cut<'a>(
    blob: &'a [u8],
    pair: Pair,
    end: &mut usize,
    place: &str,
) -> Result<Option<&'a [u8]>, BoxedMalformed> {
    let (offset, len) = (pair.offset as usize, pair.len as usize);
    if offset == 0 && len == 0 {
        return Ok(None);
    }
    // The sum of two 32-bit numbers does not overflow 64 bits.
    let part = if offset >= *end && offset % 8 == 0 { blob.get(offset..offset + len) } else { None };
    let Some(part) = part else { return Err(Malformed::part(place, offset, len, blob.len())) };
    *end = offset + len;
    Ok(Some(part))
}

/// Writes a head and the parts behind it, over memory with any content.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut [u8],
    end: usize,
}

impl<'o> Writer<'o> {
    /// Begins a head that ends at `len`.
    ///
    /// # Panics
    /// When `out` is shorter.
    #[inline]
    pub fn new(out: &'o mut [u8], len: usize) -> Self {
        let end = align8(len);
        out[..end].fill(0);
        #[allow(clippy::cast_possible_truncation, reason = "`offsets` asserts at most 4096")]
        out[..LEN_SIZE].copy_from_slice(&(len as u32).to_le_bytes());
        Self { out, end }
    }

    /// Writes the fixed value at `at`.
    #[inline]
    pub(crate) fn fixed<T: Fixed>(&mut self, at: usize, value: &T) {
        self.bytes(at, bytes_of(core::slice::from_ref(value)));
    }

    /// Writes the bytes of the fixed value at `at`.
    #[inline]
    pub(crate) fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.out[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes the pair at `at`, and its part of `len` bytes, which `write` fills.
    #[inline]
    pub(crate) fn part(&mut self, at: usize, len: usize, write: impl FnOnce(&mut [u8])) {
        place(self.out, at, &mut self.end, len, write);
    }
}

/// Writes the count of a list, and zeros for its pairs. Returns the end of the pairs.
pub(crate) fn begin_list(out: &mut [u8], count: usize) -> usize {
    let end = 8 + 8 * count;
    out[..end].fill(0);
    #[allow(clippy::cast_possible_truncation, reason = "no ring holds a list of 4 billion values")]
    out[..4].copy_from_slice(&(count as u32).to_le_bytes());
    end
}

/// Writes the pair at `at`, and its part of `len` bytes at `end`.
#[inline]
pub(crate) fn place(out: &mut [u8], at: usize, end: &mut usize, len: usize, write: impl FnOnce(&mut [u8])) {
    let begin = *end;
    #[allow(clippy::cast_possible_truncation, reason = "no ring holds 4 GiB")]
    {
        out[at..at + 4].copy_from_slice(&(begin as u32).to_le_bytes());
        out[at + 4..at + 8].copy_from_slice(&(len as u32).to_le_bytes());
    }
    write(&mut out[begin..begin + len]);
    *end = begin + align8(len);
    out[begin + len..*end].fill(0);
}
