//! The progress of an actor, in a mapped file that outlives the actor.
#![allow(unsafe_code, reason = "turns a mapped file into atomics")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// The words of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// 1 when the actor is connected.
    Ready,
    /// Messages that the actor has begun to send.
    Started,
    /// Messages that the actor has sent.
    Committed,
    /// Messages that the actor has received and checked.
    Taken,
    /// Time at which the actor killed itself, in nanoseconds of the monotonic clock.
    DiedAt,
    /// 1 when the actor is about to stop itself.
    Stopping,
    /// Process id of the child that keeps the actor's descriptors.
    Child,
    /// Items of streams that the actor has made.
    ItemsStarted,
    /// Items of streams that the actor has published.
    ItemsCommitted,
    /// Items of client streams that the actor has received and checked.
    ItemsTaken,
}

const WORDS: usize = 10;

/// The mapped file of one actor.
#[derive(Debug)]
pub struct ProgressFile {
    mapping: MmapRaw,
}

impl ProgressFile {
    /// Creates a file of zeros.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len((WORDS * size_of::<u64>()) as u64)?;
        Self::open(path)
    }

    /// Opens a file that the driver has created.
    ///
    /// # Errors
    /// The system's refusal, or a file that is too short.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mapping = MmapOptions::new().map_raw(&file)?;
        if mapping.len() < WORDS * size_of::<u64>() {
            return Err(io::Error::other("the file of progress is too short"));
        }
        Ok(Self { mapping })
    }

    fn word(&self, field: Field) -> &AtomicU64 {
        #[allow(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        let words = self.mapping.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping begins at a page, has at least `WORDS` words, which `open` checks, and lives as long as
        // self. Every bit pattern is a valid u64, and each process that maps the file accesses whole words.
        let words = unsafe { core::slice::from_raw_parts(words, WORDS) };
        &words[field as usize]
    }

    /// The value of a word.
    pub fn get(&self, field: Field) -> u64 {
        self.word(field).load(Ordering::Acquire)
    }

    /// Raises a word to `value`. Several threads count in one word, and note what they have counted in any order.
    pub fn raise(&self, field: Field, value: u64) {
        self.word(field).fetch_max(value, Ordering::Release);
    }
}
