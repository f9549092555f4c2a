//! How fast the machine moves long payloads without any transport: by one process alone, and from one to another.

#![allow(unsafe_code, reason = "payloads in memory that another process writes")]

use std::hint::{black_box, spin_loop};
use std::path::Path;
use std::ptr;
use std::sync::atomic::Ordering;

use tachyon_benches::{Kind, Outcome, Shared, Sink, Source, drive_source, ready, receive, rounds, tell};

/// The sum of a payload's words: reads every byte of it, as fast as the compiler knows how.
#[inline]
pub(crate) fn sum(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks();
    let rest = rest.iter().fold(0, |sum: u64, byte| sum.wrapping_add(u64::from(*byte)));
    words.iter().fold(rest, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// Copies from one buffer to place after place of another one of `capacity` bytes.
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
            return Err("what is copied is a stream of payloads that fit".into());
        }
        copying.from = vec![7; round.size];
        tell(&receive(&mut copying, &round)?)?;
    }
    Ok(())
}

/// Bytes before the payloads: one word in a line of its own for either side.
const HEAD: usize = 4096;
const SENT: usize = 0;
const TAKEN: usize = 256;

/// Shared memory with one place after the other for payloads of one length, and nothing but two counters.
struct Bare {
    shared: Shared,
    moved: u64,
}

impl Bare {
    /// Where the payload that is next in turn lies, and how many there is room for.
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
        // SAFETY: the place and `payload.len()` bytes behind it are inside the mapping, since there are `places` of them
        // in a row; the other side has taken what was there before and reads nothing until it is told; the payload is
        // this process's own memory and overlaps with nothing.
        unsafe { ptr::copy_nonoverlapping(payload.as_ptr(), place, payload.len()) };
        self.moved += 1;
        self.shared.word(SENT).store(self.moved, Ordering::Release);
        Ok(())
    }
}

/// The end that reads; it is told the length once, since nothing else travels.
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
        // SAFETY: the place and the bytes behind it are inside the mapping and initialised, as all of a file's are; the
        // other side writes there only when it is told that this was taken, which is after the last use of the slice.
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
