//! The floor under every round trip: one bare cache line per direction, bounced between two processes.
//!
//! The floor is the limit of the machine, and no transport: it checks nothing, copies nothing, cannot park, and never
//! touches the 56 bytes behind each word.
//!
//! The choice of the line matters if the cores are far apart, because a line travels through its own memory: on one
//! machine, two pages had round trips of 400 and 680 ns within one second. No transport chooses its pages, so the
//! bounce moves to another page every 1024 round trips, and the median covers many pages.

use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::drive::{Answerer, Asker, Outcome};
use crate::shared::Shared;

/// The offset of the word of each direction. Two lines lie between the words, because a prefetcher loads pairs of
/// lines.
const THERE: usize = 0;
const BACK: usize = 256;
const PAGE: usize = 4096;
const PAGES: u8 = 64;
const LEN: usize = PAGE * PAGES as usize;
/// Round trips in one page.
const STAY: u64 = 1024;

/// One end of the two lines.
#[derive(Debug)]
pub struct Bouncer {
    lines: Shared,
    bounced: u64,
}

impl Bouncer {
    /// The end that creates the lines at `path`.
    ///
    /// # Errors
    /// As [`Shared::create`].
    pub fn create(path: &Path) -> Outcome<Self> {
        Ok(Self { lines: Shared::create(path, LEN)?, bounced: 0 })
    }

    /// The end that opens the lines at `path`.
    ///
    /// # Errors
    /// As [`Shared::open`].
    pub fn open(path: &Path) -> Outcome<Self> {
        Ok(Self { lines: Shared::open(path, LEN)?, bounced: 0 })
    }

    /// The offset of a word in the page of this round trip.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "less than the number of pages")]
    fn place(&self, offset: usize) -> usize {
        (self.bounced / STAY % u64::from(PAGES)) as usize * PAGE + offset
    }

    #[inline]
    fn wait(&self, offset: usize) {
        let word = self.lines.word(self.place(offset));
        while word.load(Ordering::Acquire) != self.bounced {
            spin_loop();
        }
    }
}

impl Asker for Bouncer {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        self.bounced += 1;
        self.lines.word(self.place(THERE)).store(self.bounced, Ordering::Release);
        self.wait(BACK);
        Ok(payload.len())
    }
}

impl Answerer for Bouncer {
    #[inline]
    fn answer(&mut self) -> Outcome {
        self.bounced += 1;
        self.wait(THERE);
        self.lines.word(self.place(BACK)).store(self.bounced, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_bounces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        let answering = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut end = Bouncer::create(&path).unwrap();
                for _ in 0..100 {
                    end.answer().unwrap();
                }
            })
        };
        let mut end = Bouncer::open(&path).unwrap();
        for _ in 0..100 {
            assert_eq!(end.ask(b"any").unwrap(), 3);
        }
        answering.join().unwrap();
    }
}
