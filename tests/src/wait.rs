//! Waiting for a condition, with a limit.

use std::path::Path;
use std::time::{Duration, Instant};

/// Yields the processor for this long before the first sleep: many conditions are met within a few microseconds.
const YIELDING: Duration = Duration::from_millis(2);

/// Waits until `condition` holds.
///
/// # Panics
/// When the condition does not hold within `limit`; the message names `what` was waited for.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        if began.elapsed() < YIELDING {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until there is a file, such as the socket of a listener.
///
/// # Panics
/// When there is none within `limit`.
pub fn for_file(path: &Path, limit: Duration) {
    until(&path.display().to_string(), limit, || path.exists());
}
