//! Memory for copies of the parts of a message: a part that is checked must not change afterwards.

use core::cell::Cell;
use core::mem;

use zerocopy::IntoBytes;

use super::fixed::copy_once;

/// Largest buffer that is kept between two messages, in words of 8 bytes.
const KEPT: usize = 64 * 1024 / 8;

/// Room for copies of the parts of one message.
///
/// Parts do not overlap and begin at multiples of 8. So all copies together need no more words than the message.
#[derive(Debug)]
pub struct Scratch<'a> {
    words: &'a mut [u64],
    /// No peer can write to the message, so its parts need no copies.
    is_private: bool,
}

impl<'a> Scratch<'a> {
    /// Room in `words`, for a message that its sender can still write to.
    pub(crate) fn new(words: &'a mut [u64]) -> Self {
        Self { words, is_private: false }
    }

    /// No room, for types whose values are read without copies.
    pub(crate) fn none() -> Self {
        Self::new(&mut [])
    }

    /// No room, for a message in memory of this process, at an address that is a multiple of 8.
    pub(crate) fn private() -> Self {
        Self { words: &mut [], is_private: true }
    }

    /// The same room for parts with a shorter lifetime.
    pub(crate) fn reborrow(&mut self) -> Scratch<'_> {
        Scratch { words: &mut *self.words, is_private: self.is_private }
    }

    /// The bytes of `part` where no peer can write to them, at an address that is a multiple of 8. `None` without room:
    /// the part belongs to another message.
    pub(crate) fn hold(&mut self, part: &'a [u8]) -> Option<&'a [u8]> {
        if self.is_private {
            return Some(part);
        }
        let (held, rest) = mem::take(&mut self.words).split_at_mut_checked(part.len().div_ceil(8))?;
        self.words = rest;
        let held = &mut held.as_mut_bytes()[..part.len()];
        copy_once(part, held);
        Some(held)
    }
}

/// The buffer that an end of a connection keeps for its messages.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<u64>);

impl Words {
    /// Room for a message of `len` bytes.
    pub(crate) fn room(&mut self, len: usize) -> Scratch<'_> {
        let words = len.div_ceil(8);
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
        Scratch::new(&mut self.0)
    }

    /// Frees a buffer that is larger than `KEPT`.
    pub(crate) fn shrink(&mut self) {
        if self.0.len() > KEPT {
            *self = Self::default();
        }
    }
}

thread_local! {
    /// A serving thread needs one buffer: a handler runs to its end before the thread reads the next request.
    static WORDS: Cell<Words> = const { Cell::new(Words(Vec::new())) };
}

/// Lends `message` to `read`, with room for copies of its parts if `copies`.
#[inline]
pub(crate) fn with_scratch<R>(
    copies: bool,
    message: &[u8],
    read: impl for<'m> FnOnce(&'m [u8], &mut Scratch<'m>) -> R,
) -> R {
    if !copies {
        return read(message, &mut Scratch::none());
    }
    // Taken out, so that a handler that reads another message gets a buffer of its own.
    let mut words = WORDS.take();
    let outcome = read(message, &mut words.room(message.len()));
    words.shrink();
    WORDS.set(words);
    outcome
}
