//! The streams of a callee: their items, and the number of open ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tachyon_tests::chaos::progress::Progress;
use tachyon_tests::chaos::progress_file::Field;

use super::caller::items_of;

/// The streams of a callee that have not ended, and the items of all streams.
#[derive(Debug)]
pub(crate) struct OpenStreams {
    progress: Progress,
    open: AtomicU64,
    started: AtomicU64,
    committed: AtomicU64,
}

impl OpenStreams {
    pub(crate) fn new(progress: Progress) -> Arc<Self> {
        let [open, started, committed] = [const { AtomicU64::new(0) }; 3];
        Arc::new(Self { progress, open, started, committed })
    }

    /// The number of iterators that were made and not dropped.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Checks that the end of the connection has dropped each iterator.
    pub(crate) fn check_closed(&self) -> Result<(), String> {
        let open = self.open();
        if open == 0 { Ok(()) } else { Err(format!("{open} iterators were not dropped")) }
    }

    /// The items of the stream of request `number`, or the error that ends it.
    pub(crate) fn items(self: &Arc<Self>, answer: Result<(u64, Vec<u8>), String>) -> Items {
        self.open.fetch_add(1, Ordering::Relaxed);
        let left = answer.as_ref().map_or(1, |(number, _)| items_of(*number));
        let item = answer.map(|(_, reply)| reply);
        Items { streams: Arc::clone(self), item, left, has_begun: false }
    }
}

/// The items of one stream.
#[derive(Debug)]
pub(crate) struct Items {
    streams: Arc<OpenStreams>,
    item: Result<Vec<u8>, String>,
    left: u64,
    has_begun: bool,
}

impl Iterator for Items {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let OpenStreams { progress, started, committed, .. } = &*self.streams;
        if self.has_begun {
            // The serving thread asks for an item after it has published the item before.
            progress.note(Field::ItemsCommitted, committed.fetch_add(1, Ordering::Relaxed) + 1);
        }
        self.left = self.left.checked_sub(1)?;
        self.has_begun = true;
        let number = started.fetch_add(1, Ordering::Relaxed);
        progress.note(Field::ItemsStarted, number + 1);
        progress.pass("item", number);
        Some(self.item.clone())
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}
