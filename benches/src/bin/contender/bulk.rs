//! The speed of the machine for long payloads without a transport: in one process, and from one process to another.

#![allow(unsafe_code, reason = "payloads in memory that another process writes")]

use std::hint::{black_box, spin_loop};
use std::path::Path;
use std::ptr;
use std::sync::atomic::Ordering;

use tachyon_benches::{Kind, Outcome, Shared, Sink, Source, drive_source, ready, receive, rounds, tell};

/// The sum of a payload's words: reads every byte, in vectorised code of the compiler.
#[inline]
pub(crate) fn sum(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks();
    let rest = rest.iter().fold(0, |sum: u64, byte| sum.wrapping_add(u64::from(*byte)));
    words.iter().fold(rest, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// Copies from one buffer to successive places of another buffer of `capacity` bytes.
pub(crate) fn memcpy(capacity: usize) -> Outcome {
    struct Copying {
        from: Vec<u8>,
        to: Vec<u8>,
        at: usize,
    }
    impl Sink for Copying {
        #[inline]
        fn take(&mut self, _most: u64) -> Outcome<u64> {
            let len = self.from.len();
            if self.to.len() < self.at + len {
                self.at = 0;
            }
            self.to[self.at..self.at + len].copy_from_slice(black_box(&self.from));
            black_box(&mut self.to[self.at]);
            self.at += len;
            Ok(1)
        }
    }
    ready()?;
    let mut copying = Copying { from: Vec::new(), to: vec![1; capacity], at: 0 };
    while let Some(round) = rounds()? {
        if round.size > capacity || round.kind != Kind::Stream {
            return Err("memcpy needs a stream, and a payload that fits the capacity".into());
        }
        copying.from = vec![7; round.size];
        tell(&receive(&mut copying, &round)?)?;
    }
    Ok(())
}

/// Bytes before the payloads: a cache line with one word for each side.
const HEAD: usize = 4096;
const SENT: usize = 0;
const TAKEN: usize = 256;

/// Shared memory with successive places for payloads of one length, and two counters.
struct Bare {
    shared: Shared,
    moved: u64,
}

impl Bare {
    /// The offset of the next payload, and the number of places.
    fn place(&self, len: usize) -> Outcome<(*mut u8, u64)> {
        let places = u64::try_from((self.shared.len() - HEAD) / len)?;
        let place = self.moved.checked_rem(places).ok_or("no room for a payload")?;
        Ok((self.shared.at(HEAD + usize::try_from(place)? * len), places))
    }
}

impl Source for Bare {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Outcome {
        let (place, places) = self.place(payload.len())?;
        while self.moved - self.shared.word(TAKEN).load(Ordering::Acquire) == places {
            spin_loop();
        }
        // SAFETY: the place and `payload.len()` bytes behind it are inside the mapping, since there are `places` of
        // them in a row. The other side has taken the previous payload there, and reads nothing until this side counts
        // the new payload. The payload is this process's own memory and does not overlap with the mapping.
        unsafe { ptr::copy_nonoverlapping(payload.as_ptr(), place, payload.len()) };
        self.moved += 1;
        self.shared.word(SENT).store(self.moved, Ordering::Release);
        Ok(())
    }
}

/// The reading end. It knows the length from the round, since the memory has no length in it.
struct Reading {
    bare: Bare,
    len: usize,
}

impl Sink for Reading {
    #[inline]
    fn take(&mut self, _most: u64) -> Outcome<u64> {
        let (place, _) = self.bare.place(self.len)?;
        while self.bare.shared.word(SENT).load(Ordering::Acquire) <= self.bare.moved {
            spin_loop();
        }
        // SAFETY: the place and the bytes behind it are inside the mapping and initialised, as all bytes of a file. The
        // other side writes there only after this side counts the payload as taken, after the last use of the slice.
        let payload = unsafe { std::slice::from_raw_parts(place, self.len) };
        black_box(sum(payload));
        self.bare.moved += 1;
        self.bare.shared.word(TAKEN).store(self.bare.moved, Ordering::Release);
        Ok(1)
    }
}

pub(crate) fn source(path: &Path, capacity: usize) -> Outcome {
    drive_source(Bare { shared: Shared::create(path, HEAD + capacity)?, moved: 0 })
}

pub(crate) fn sink(path: &Path, capacity: usize) -> Outcome {
    let mut reading = Reading { bare: Bare { shared: Shared::open(path, HEAD + capacity)?, moved: 0 }, len: 0 };
    ready()?;
    while let Some(round) = rounds()? {
        reading.len = round.size;
        tell(&receive(&mut reading, &round)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), 3);
        assert_eq!(sum(&[1; 16]), 2 * 0x0101_0101_0101_0101);
    }
}
