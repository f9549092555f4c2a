//! The floor under every round trip: one bare cache line per direction, bounced between two processes.
//!
//! Nothing is checked, nothing is copied, nobody can park, and the 56 bytes behind each word are never touched: this is
//! what the machine allows, and no transport.

#![allow(unsafe_code, reason = "two words of memory that another process writes")]

use std::fs::File;
use std::hint::spin_loop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::MmapRaw;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::drive::{Answerer, Asker, Outcome};

/// Where the word of each direction lies. Two lines between them keep the prefetcher of pairs of lines out of it.
const THERE: usize = 0;
const BACK: usize = 256;
const LEN: usize = 4096;

/// How long the asking side waits for the other one to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shared memory: a memfd mapped by both processes.
#[derive(Debug)]
pub struct Line {
    map: MmapRaw,
    // The other process opens it through this one.
    _file: File,
}

impl Line {
    /// Makes the memory, and a link at `path` by which another process of this user finds it.
    ///
    /// # Errors
    /// The memory or the link cannot be made.
    pub fn create(path: &Path) -> Outcome<Self> {
        let file = File::from(memfd_create("floor", MemfdFlags::CLOEXEC)?);
        file.set_len(u64::try_from(LEN)?)?;
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), path)?;
        Self::map(file)
    }

    /// Maps what another process has made, once it has.
    ///
    /// # Errors
    /// It did not within ten seconds.
    pub fn open(path: &Path) -> Outcome<Self> {
        let begin = Instant::now();
        while !path.exists() {
            if begin.elapsed() > PATIENCE {
                return Err("nobody has made the floor's memory".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self::map(File::options().read(true).write(true).open(path)?)
    }

    fn map(file: File) -> Outcome<Self> {
        let map = MmapRaw::map_raw(&file)?;
        if map.len() < LEN {
            return Err("the floor's memory is too short".into());
        }
        Ok(Self { map, _file: file })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        let address = self.map.as_mut_ptr().wrapping_add(offset).cast();
        // SAFETY: the address is inside the mapping, which `map` has checked to be long enough and which lives as long as
        // the reference; it is aligned, since mappings begin at pages and the offsets are multiples of 256; whoever else
        // has the word, in this process or the other, uses it as an atomic as well.
        unsafe { AtomicU64::from_ptr(address) }
    }
}

/// One end of the line.
#[derive(Debug)]
pub struct Bouncer {
    line: Line,
    bounced: u64,
}

impl Bouncer {
    /// An end that has bounced nothing yet.
    pub fn new(line: Line) -> Self {
        Self { line, bounced: 0 }
    }

    #[inline]
    fn wait(&self, offset: usize) {
        let word = self.line.word(offset);
        while word.load(Ordering::Acquire) != self.bounced {
            spin_loop();
        }
    }
}

impl Asker for Bouncer {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        self.bounced += 1;
        self.line.word(THERE).store(self.bounced, Ordering::Release);
        self.wait(BACK);
        Ok(payload.len())
    }
}

impl Answerer for Bouncer {
    #[inline]
    fn answer(&mut self) -> Outcome {
        self.bounced += 1;
        self.wait(THERE);
        self.line.word(BACK).store(self.bounced, Ordering::Release);
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
                let mut end = Bouncer::new(Line::create(&path).unwrap());
                for _ in 0..100 {
                    end.answer().unwrap();
                }
            })
        };
        let mut end = Bouncer::new(Line::open(&path).unwrap());
        for _ in 0..100 {
            assert_eq!(end.ask(b"any").unwrap(), 3);
        }
        answering.join().unwrap();
    }
}
