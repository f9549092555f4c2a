//! Code of users: handlers, hooks, layers, and the destructors of what they return or throw.
//!
//! A panic in such code is the failure of one call or of one report. It never leaves the thread that serves: every call
//! into users' code goes through [`run`].

#[cfg(any(feature = "tokio", test))]
mod value;

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "tokio")]
pub(crate) use self::value::Foreign;

/// A panic of users' code, as text. The value that was thrown is gone.
#[derive(Debug)]
pub(crate) struct Panicked(Box<str>);

impl core::fmt::Display for Panicked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

/// Runs users' code.
///
/// # Errors
/// The panic that it ended with. The state that the code leaves half changed is the user's own, as with a handler that
/// returns an error; no state of this crate passes through it.
#[inline]
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
        // The destructor of what was thrown can panic as well. What that throws is kept for good: there is no end to
        // destructors that panic.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            core::mem::forget(again);
        }
        Self(text.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped, with a value that does the same.
    pub(super) struct Bomb(pub(super) u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_text_whatever_was_thrown() {
        assert_eq!(run(|| 7).unwrap(), 7);
        assert_eq!(run(|| -> () { panic!("plain") }).unwrap_err().to_string(), "panicked: plain");
        assert_eq!(run(|| -> () { panic!("{}", 1) }).unwrap_err().to_string(), "panicked: 1");
        let other = run(|| -> () { std::panic::panic_any(Bomb(3)) }).unwrap_err();
        assert_eq!(other.to_string(), "panicked: with a payload that is not text");
    }
}
