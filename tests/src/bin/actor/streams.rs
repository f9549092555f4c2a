//! The streams of a callee: their items, and the number of open ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tachyon::{HandlerError, StreamSender};
use tachyon_tests::chaos::progress::Progress;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::{Receipt, Stream};

use super::caller::{item_of, items_of};

/// Longest that a thread may run after its stream has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The streams of a callee that have not ended, and the items of all streams.
#[derive(Debug)]
pub(crate) struct OpenStreams {
    progress: Progress,
    open: AtomicU64,
    started: AtomicU64,
    committed: AtomicU64,
    /// Items of client streams.
    taken: AtomicU64,
    /// The error of a malformed client stream, since a caller that is gone would not report it.
    wrong: OnceLock<String>,
}

impl OpenStreams {
    pub(crate) fn new(progress: Progress) -> Arc<Self> {
        let [open, started, committed, taken] = [const { AtomicU64::new(0) }; 4];
        Arc::new(Self { progress, open, started, committed, taken, wrong: OnceLock::new() })
    }

    /// The number of iterators that were not dropped, and of threads that run.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// The number of items of client streams.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Checks that the end of the connection has dropped each iterator and ended each thread, and that each client
    /// stream was right.
    pub(crate) fn check_closed(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.open() > 0 {
            if Instant::now() > until {
                return Err(format!("{} streams did not end", self.open()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.wrong.get().map_or(Ok(()), |wrong| Err(wrong.clone()))
    }

    fn begin(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
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
        let _open = self.begin();
        for item in items {
            requests
                .check(number, &item?)
                .map_err(|wrong| HandlerError::failed(format!("item of {number}: {wrong}")))?;
            self.start_item();
            out.blocking_send(&reply)?;
        }
        Ok(())
    }

    /// Takes the client stream of request `number`.
    pub(crate) fn upload(self: &Arc<Self>, number: u64, requests: Stream) -> Upload {
        Upload { open: self.begin(), number, requests, receipt: Receipt::default() }
    }

    /// The items of the stream of request `number`, or the error that ends it.
    pub(crate) fn items(self: &Arc<Self>, answer: Result<(u64, Vec<u8>), String>) -> Items {
        let open = self.begin();
        let left = answer.as_ref().map_or(1, |(number, _)| items_of(*number));
        let item = answer.map(|(_, reply)| reply);
        Items { open, item, left, has_begun: false }
    }
}

/// A client stream, whose items are checked one by one.
#[derive(Debug)]
pub(crate) struct Upload {
    open: Open,
    number: u64,
    requests: Stream,
    receipt: Receipt,
}

impl Upload {
    /// Takes all items, and gives the reply.
    pub(crate) fn take_all(mut self, items: tachyon::Items<Vec<u8>>) -> Result<Vec<u8>, HandlerError> {
        for item in items {
            self.take(&item?)?;
        }
        self.reply()
    }

    /// As [`take_all`](Self::take_all), in a task.
    pub(crate) async fn take_all_async(mut self, mut items: tachyon::Items<Vec<u8>>) -> Result<Vec<u8>, HandlerError> {
        while let Some(item) = items.recv().await {
            self.take(&item?)?;
        }
        self.reply()
    }

    fn take(&mut self, item: &[u8]) -> Result<(), HandlerError> {
        let at = self.receipt.items();
        let checked = self.requests.check(item_of(self.number, at), item);
        checked.map_err(|wrong| self.is_wrong(format!("item {at} of {}: {wrong}", self.number)))?;
        self.receipt.add(item);
        let OpenStreams { progress, taken, .. } = &*self.open.0;
        let before = taken.fetch_add(1, Ordering::Relaxed);
        progress.note(Field::ItemsTaken, before + 1);
        progress.pass("item", before);
        Ok(())
    }

    /// The reply. The items of a caller that died before their end have an error, and no end.
    fn reply(&self) -> Result<Vec<u8>, HandlerError> {
        let (number, items) = (self.number, self.receipt.items());
        if items != items_of(number) {
            return Err(self.is_wrong(format!("stream {number} ended after {items} of {} items", items_of(number))));
        }
        Ok(self.receipt.reply())
    }

    fn is_wrong(&self, what: String) -> HandlerError {
        HandlerError::failed(self.open.0.wrong.get_or_init(|| what))
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
