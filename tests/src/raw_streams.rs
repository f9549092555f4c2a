//! Streams of replies by number: the endpoints that the tests of blocking callers, of tasks and of Python share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tachyon::{Dispatcher, ErrorKind, HandlerError, RegisterError};

/// Sends the request back.
pub const ECHO: u16 = 1;
/// As many numbers as the request says, from 0.
pub const COUNT: u16 = 2;
/// Numbers without an end.
pub const FOREVER: u16 = 3;
/// As many numbers as the request says, then an error.
pub const FAIL_AFTER: u16 = 4;
/// As many numbers as the request says, then a panic.
pub const PANIC_AFTER: u16 = 5;
/// As many items of 3,000 bytes as the request says.
pub const LARGE: u16 = 6;

/// The number in a request or an item; 0 in an empty one.
pub fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map(u32::from_le_bytes).unwrap_or_default()
}

/// The iterators of [`FOREVER`].
#[derive(Debug, Default)]
pub struct Iterators {
    /// Items that they have given.
    pub given: AtomicUsize,
    /// Iterators that are dropped.
    pub dropped: AtomicUsize,
}

/// Counts up from 1.
#[derive(Debug)]
pub struct Forever {
    last: u32,
    iterators: Arc<Iterators>,
}

impl Forever {
    /// An iterator that counts among `iterators`.
    pub fn new(iterators: &Arc<Iterators>) -> Self {
        Self { last: 0, iterators: Arc::clone(iterators) }
    }
}

impl Iterator for Forever {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.iterators.given.fetch_add(1, Ordering::Relaxed);
        self.last += 1;
        Some(self.last)
    }
}

impl Drop for Forever {
    fn drop(&mut self) {
        self.iterators.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A dispatcher of the endpoints above. `forever` makes the items of [`FOREVER`].
///
/// # Errors
/// Never: the numbers differ.
///
/// # Panics
/// In the stream of [`PANIC_AFTER`].
pub fn dispatcher<I: Iterator<Item = u32> + Send + 'static>(
    forever: impl Fn() -> I + Send + Sync + 'static,
) -> Result<Dispatcher, RegisterError> {
    let mut dispatcher = Dispatcher::default();
    dispatcher
        .register(ECHO, "echo", <[u8]>::to_vec)?
        .register_stream(COUNT, "count", |request| 0..number(request))?
        .register_stream(FOREVER, "forever", move |_| forever())?
        .register_stream(FAIL_AFTER, "fail_after", |request| {
            let last = number(request);
            (0..=last).map(
                move |item| {
                    if item == last { Err(HandlerError::new(ErrorKind::NotFound, "no more")) } else { Ok(item) }
                },
            )
        })?
        .register_stream(PANIC_AFTER, "panic_after", |request| {
            let last = number(request);
            (0..=last).inspect(move |item| assert!(*item < last, "at the last"))
        })?
        .register_stream(LARGE, "large", |request| {
            let count = number(request);
            (0..count).map(|item| vec![u8::try_from(item % 251).unwrap_or_default(); 3000])
        })?;
    Ok(dispatcher)
}
