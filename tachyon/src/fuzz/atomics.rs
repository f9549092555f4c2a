//! Atomics that a peer may change right before each look at them.
//!
//! What a hostile peer can do to a word between two of our loads of it, the fuzzer does in one thread, and so can repeat:
//! every load first lets it write wherever it likes.

use core::sync::atomic::{self, Ordering};

use super::between_looks;

macro_rules! restless {
    ($($name:ident of $value:ty),*) => {$(
        /// The atomic of the same name.
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "the two have the same operations, whichever each is used for")]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                between_looks();
                self.0.load(ordering)
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.0.store(value, ordering);
            }

            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                between_looks();
                self.0.swap(value, ordering)
            }

            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                between_looks();
                self.0.fetch_or(value, ordering)
            }

            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                self.0.fetch_add(value, ordering)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                between_looks();
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    )*};
}

restless!(AtomicU32 of u32, AtomicU64 of u64);
