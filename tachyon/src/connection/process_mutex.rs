//! A mutex that a forked child leaves alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fork;

/// A mutex of one process. In a forked child it gives no access: a thread of the parent may have held it at the fork,
/// and no thread of the child would unlock it.
#[derive(Debug)]
pub(crate) struct ProcessMutex<T> {
    generation: u32,
    value: Mutex<T>,
}

impl<T> ProcessMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { generation: fork::watch(), value: Mutex::new(value) }
    }

    /// Locks; `None` in a forked child. Ignores poisoning: users keep the value consistent whenever the lock is free.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, T>> {
        (self.generation == fork::generation()).then(|| self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Default> Default for ProcessMutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
