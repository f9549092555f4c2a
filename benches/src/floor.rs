//! The floor under every round trip: one bare cache line per direction, bounced between two processes.
//!
//! Nothing is checked, nothing is copied, nobody can park, and the 56 bytes behind each word are never touched: this is
//! what the machine allows, and no transport.
//!
//! Which line it is matters where the cores are far apart: a line travels by way of the memory it belongs to, and between
//! two pages there were 400 and 680 ns on one machine, within one second. No transport chooses its pages, so the bounce
//! moves to another one every 1024 round trips, and the median is one over many places.

use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::drive::{Answerer, Asker, Outcome};
use crate::shared::Shared;

/// Where the word of each direction lies. Two lines between them keep the prefetcher of pairs of lines out of it.
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
    /// The end that makes the lines, to be found at `path`.
    ///
    /// # Errors
    /// As [`Shared::create`].
    pub fn create(path: &Path) -> Outcome<Self> {
        Ok(Self { lines: Shared::create(path, LEN)?, bounced: 0 })
    }

    /// The end that finds them.
    ///
    /// # Errors
    /// As [`Shared::open`].
    pub fn open(path: &Path) -> Outcome<Self> {
        Ok(Self { lines: Shared::open(path, LEN)?, bounced: 0 })
    }

    /// Where a word lies in the page of this round trip.
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
