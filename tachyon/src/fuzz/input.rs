//! A fuzzer's input, read from both ends.

use core::cell::Cell;

/// Bytes that choose the steps of a run. The steps of this side are read from the front, the peer's writes between
/// loads from the end, so a change of one does not shift the other.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    bytes: Cell<&'a [u8]>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: Cell::new(bytes) }
    }

    /// The next byte from the front; `None` at the end of the input.
    pub(crate) fn next(&self) -> Option<u8> {
        let (first, rest) = self.bytes.get().split_first()?;
        self.bytes.set(rest);
        Some(*first)
    }

    /// The next byte from the front; 0 at the end of the input.
    pub(crate) fn byte(&self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// The next byte from the end; `None` at the end of the input.
    #[cfg(fuzzing)]
    pub(crate) fn back(&self) -> Option<u8> {
        let (last, rest) = self.bytes.get().split_last()?;
        self.bytes.set(rest);
        Some(*last)
    }

    pub(crate) fn short(&self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn word(&self) -> u32 {
        u32::from(self.short()) | u32::from(self.short()) << 16
    }

    /// The next `len` bytes from the front, or all remaining bytes.
    pub(crate) fn slice(&self, len: usize) -> &'a [u8] {
        let bytes = self.bytes.get();
        let (taken, rest) = bytes.split_at(len.min(bytes.len()));
        self.bytes.set(rest);
        taken
    }

    /// A position near `base`, or a special one.
    pub(crate) fn near(&self, base: u64) -> u64 {
        near(base, self.byte(), self.byte())
    }
}

/// Like [`Input::near`], from two bytes that were read already.
pub(super) fn near(base: u64, how: u8, by: u8) -> u64 {
    match how {
        0..128 => base.wrapping_add_signed(i64::from(by.cast_signed())),
        128..192 => base.wrapping_add(u64::from(by) << (how & 63)),
        192..224 => u64::from(by),
        _ => (u64::from(how) << 56 | u64::from(by)).rotate_left(u32::from(how & 31)),
    }
}
