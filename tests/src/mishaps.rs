//! Endpoints that fail in every way: the numbers that the program `mishaps`, its tests, and `tests/python/mishaps.py`
//! share.

/// Sends the request back.
pub const ECHO: u16 = 1;
/// Returns an error, or raises one.
pub const FAILS: u16 = 2;
/// Panics. In Python it raises a `BaseException` that is neither an `Exception` nor an exit.
pub const PANICS: u16 = 3;
/// Replies with more bytes than the reverse ring holds.
pub const HUGE: u16 = 4;
/// Ends the process during the call.
pub const EXITS: u16 = 5;
/// Sleeps for the milliseconds in the request, a little-endian `u64`, then sends the request back.
pub const SLEEPS: u16 = 6;
/// Takes a `u64`.
pub const TYPED: u16 = 7;
/// Forks. The child exits if the request is `exits`, and returns from the handler if it is `runs`. The parent replies
/// `parent`.
pub const FORKS: u16 = 8;
/// No endpoint has this number.
pub const UNKNOWN: u16 = 404;

/// Bytes of each ring.
pub const RING: usize = 4096;

/// The name of a variant from its `Debug` output, without the fields.
pub fn name(debugged: &str) -> String {
    debugged.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
