//! The endpoints of a connection whose two sides mean the same.

use std::collections::HashSet;

/// The endpoints that were compared with the callee's, each by a key of its driver's: the address of a signature, which
/// is even, or an odd number of a binding's.
#[derive(Debug, Default)]
pub(crate) struct VerifiedEndpoints {
    latest: usize,
    all: HashSet<usize>,
}

impl VerifiedEndpoints {
    #[inline]
    pub(crate) fn contains(&mut self, key: usize) -> bool {
        if self.latest == key {
            return true;
        }
        let known = self.all.contains(&key);
        if known {
            self.latest = key;
        }
        known
    }

    pub(crate) fn insert(&mut self, key: usize) {
        self.latest = key;
        self.all.insert(key);
    }
}
