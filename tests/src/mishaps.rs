//! Everything that can go wrong with a call: numbers and words shared by the program `mishaps`, its tests and its twin
//! in Python, `tests/python/mishaps.py`.

/// Sends back what came.
pub const ECHO: u16 = 1;
/// Returns an error, or raises one.
pub const FAILS: u16 = 2;
/// Panics. In Python it raises what is no `Exception`, and no wish to exit either.
pub const PANICS: u16 = 3;
/// Replies with more than the reverse ring holds.
pub const HUGE: u16 = 4;
/// Ends the process in the midst of the call.
pub const EXITS: u16 = 5;
/// Sleeps for as many milliseconds as its request, a little-endian `u64`, says, then sends the request back.
pub const SLEEPS: u16 = 6;
/// Takes a number of eight bytes.
pub const TYPED: u16 = 7;
/// Forks; the request says what the child does: `exits` at once, or `runs` on. The parent replies `parent`.
pub const FORKS: u16 = 8;
/// No endpoint has this number.
pub const UNKNOWN: u16 = 404;

/// Bytes of each ring.
pub const RING: usize = 4096;

/// The name of an error's variant, without what it carries.
pub fn name(debugged: &str) -> String {
    debugged.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
