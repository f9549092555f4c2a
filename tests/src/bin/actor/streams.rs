//! The streams of a callee: their items, and the number of open ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tachyon::{HandlerError, StreamSender};
use tachyon_tests::chaos::progress::Progress;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::Stream;

use super::caller::items_of;

/// Longest that a thread may run after its stream has ended.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// The number of iterators that were not dropped, and of threads that run.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Checks that the end of the connection has dropped each iterator and ended each thread.
    pub(crate) fn check_closed(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.open() > 0 {
            if Instant::now() > until {
                return Err(format!("{} streams did not end", self.open()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn start_item(&self) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.progress.note(Field::ItemsStarted, number + 1);
        self.progress.pass("item", number);
    }

    /// Answers each item of the caller, which is the request `number` again, with the reply. Runs on a thread of its
    /// own, and does not know which of its items are published.
    pub(crate) fn exchange(
        self: &Arc<Self>,
        (number, reply): (u64, Vec<u8>),
        requests: Stream,
        items: tachyon::Items<Vec<u8>>,
        out: &StreamSender<Vec<u8>>,
    ) -> Result<(), HandlerError> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let _open = Open(Arc::clone(self));
        for item in items {
            requests
                .check(number, &item?)
                .map_err(|wrong| HandlerError::failed(format!("item of {number}: {wrong}")))?;
            self.start_item();
            out.blocking_send(&reply)?;
        }
        Ok(())
    }

    /// The items of the stream of request `number`, or the error that ends it.
    pub(crate) fn items(self: &Arc<Self>, answer: Result<(u64, Vec<u8>), String>) -> Items {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(self));
        let left = answer.as_ref().map_or(1, |(number, _)| items_of(*number));
        let item = answer.map(|(_, reply)| reply);
        Items { open, item, left, has_begun: false }
    }
}

/// The items of one stream.
#[derive(Debug)]
pub(crate) struct Items {
    open: Open,
    item: Result<Vec<u8>, String>,
    left: u64,
    has_begun: bool,
}

impl Iterator for Items {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let OpenStreams { progress, committed, .. } = &*self.open.0;
        if self.has_begun {
            // The serving thread asks for an item after it has published the item before.
            progress.note(Field::ItemsCommitted, committed.fetch_add(1, Ordering::Relaxed) + 1);
        }
        self.left = self.left.checked_sub(1)?;
        self.has_begun = true;
        self.open.0.start_item();
        Some(self.item.clone())
    }
}

/// Counts as an open stream until it is dropped.
#[derive(Debug)]
struct Open(Arc<OpenStreams>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
