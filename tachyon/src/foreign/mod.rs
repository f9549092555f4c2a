//! The guard around code of users: handlers, hooks, layers, and the destructors of their results and panic payloads.
//!
//! A panic of such code fails one call or one report, and does not unwind through the serving thread: every call of
//! users' code goes through [`run`].

mod value;

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use self::value::Foreign;

/// A panic of users' code, as text. The payload is dropped.
#[derive(Debug)]
pub struct Panicked(Box<str>);

impl core::fmt::Display for Panicked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

/// Runs users' code.
///
/// # Errors
/// The panic of the code. State that the code leaves half changed belongs to the user, as with a handler that returns
/// an error; no state of this crate passes through the code.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a frame of its own costs 30 instructions of each request")]
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(Panicked::new)
}

impl Panicked {
    #[cold]
    pub(crate) fn new(thrown: Box<dyn Any + Send>) -> Self {
        let text = thrown
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| thrown.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "with a payload that is not text".to_owned());
        // The destructor of a payload may panic. The second payload is leaked: its destructor may panic too.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            core::mem::forget(second);
        }
        Self(text.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics on drop, with a payload that does the same.
    pub(super) struct Bomb(pub(super) u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_of_any_payload_is_text() {
        assert_eq!(run(|| 7).unwrap(), 7);
        assert_eq!(run(|| -> () { panic!("plain") }).unwrap_err().to_string(), "panicked: plain");
        assert_eq!(run(|| -> () { panic!("{}", 1) }).unwrap_err().to_string(), "panicked: 1");
        let other = run(|| -> () { std::panic::panic_any(Bomb(3)) }).unwrap_err();
        assert_eq!(other.to_string(), "panicked: with a payload that is not text");
    }
}
