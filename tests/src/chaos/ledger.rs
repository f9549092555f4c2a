//! A page of words in a file, where an actor notes how far it has come: what it wrote before it was killed stays.
#![allow(unsafe_code, reason = "turns a mapped file into atomics")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// What a word counts or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    /// 1 once the actor is connected.
    Ready,
    /// Messages whose sending it has begun.
    Started,
    /// Messages whose sending has returned.
    Committed,
    /// Messages it has taken and found right.
    Taken,
    /// When it killed itself, on the monotonic clock.
    DiedAt,
    /// 1 when it is about to stop itself.
    Stopping,
    /// The process id of the child that holds what it had open.
    Child,
}

const WORDS: usize = 7;

/// The words of one actor, shared with whoever has the file.
#[derive(Debug)]
pub struct Ledger {
    mapping: MmapRaw,
}

impl Ledger {
    /// Makes a ledger of zeros.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len((WORDS * size_of::<u64>()) as u64)?;
        Self::open(path)
    }

    /// Opens a ledger that somebody else made.
    ///
    /// # Errors
    /// The system's refusal, or a file that is too short.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mapping = MmapOptions::new().map_raw(&file)?;
        if mapping.len() < WORDS * size_of::<u64>() {
            return Err(io::Error::other("the ledger is cut off"));
        }
        Ok(Self { mapping })
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        #[allow(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        let words = self.mapping.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping begins at a page, is at least `WORDS` words long, which was checked, and lives as long as
        // self. Any bytes are a valid u64, and all who map the file use whole words.
        let words = unsafe { core::slice::from_raw_parts(words, WORDS) };
        &words[word as usize]
    }

    /// What a word says.
    pub fn get(&self, word: Word) -> u64 {
        self.word(word).load(Ordering::Acquire)
    }

    /// Notes something.
    pub fn set(&self, word: Word, value: u64) {
        self.word(word).store(value, Ordering::Release);
    }
}
