//! Atomics that a hostile peer may change before each load.
//!
//! The fuzzer runs the peer's writes in the same thread, before a load, so every run can be repeated.

use core::sync::atomic::{self, Ordering};

use super::between_looks;

macro_rules! restless {
    ($($name:ident of $value:ty),*) => {$(
        /// The atomic of the same name.
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "both types have all operations, and not every operation is used for both")]
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
