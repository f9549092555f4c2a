//! Settings of a call: time, metadata, and whether the callee may run the call twice.

use std::time::Duration;

use super::error::CallError;
use crate::metadata::{Metadata, MetadataError};
use crate::wait::Deadline;

/// Settings of calls, for every caller. Without settings a call takes any time and is sent once.
#[derive(Debug, Clone, Default)]
pub struct CallSettings {
    timeout: Option<Duration>,
    idempotent: bool,
    /// The metadata, or the first entry that cannot travel. Boxed: few calls have metadata.
    metadata: Option<Box<Result<Metadata, MetadataError>>>,
    /// Items that may be under way from the callee of a stream.
    window: Option<u32>,
}

impl CallSettings {
    /// Sets the longest time of the whole call.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }

    /// Shortens the longest time of the whole call to at most `left`.
    #[cfg(feature = "tokio")]
    pub(crate) fn limit_timeout(&mut self, left: Duration) {
        self.timeout = Some(self.timeout.map_or(left, |timeout| timeout.min(left)));
    }

    /// Sets how many items may be under way from the callee of a stream.
    pub(crate) fn set_window(&mut self, window: u32) {
        self.window = Some(window);
    }

    pub(crate) fn window(&self) -> Option<u32> {
        self.window
    }

    /// Says that the call may run twice.
    pub(crate) fn set_idempotent(&mut self) {
        self.idempotent = true;
    }

    /// Adds an entry of metadata, or replaces the one with its key. The call reports an entry that cannot travel.
    pub(crate) fn insert(&mut self, key: &str, value: &str) {
        let metadata = self.metadata.get_or_insert_with(|| Box::new(Ok(Metadata::new())));
        if let Ok(entries) = &mut **metadata
            && let Err(error) = entries.insert(key, value)
        {
            **metadata = Err(error);
        }
    }

    /// The deadline of a call that begins now.
    #[inline]
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::from(self.timeout)
    }

    /// Whether the call may run twice.
    #[inline]
    pub(crate) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// The metadata, if there is any.
    ///
    /// # Errors
    /// [`CallError::Metadata`]: an entry cannot travel.
    #[inline]
    pub(crate) fn metadata(&self) -> Result<Option<&Metadata>, CallError> {
        match self.metadata.as_deref() {
            None => Ok(None),
            Some(metadata) => present(metadata),
        }
    }

    /// These settings with `over` on top: its time and its entries replace those here.
    #[cold]
    pub(crate) fn with(mut self, over: &Self) -> Self {
        self.timeout = over.timeout.or(self.timeout);
        self.idempotent |= over.idempotent;
        self.window = over.window.or(self.window);
        match over.metadata.as_deref() {
            None => {}
            Some(Ok(entries)) => entries.iter().for_each(|(key, value)| self.insert(key, value)),
            Some(Err(_)) => self.metadata.clone_from(&over.metadata),
        }
        self
    }
}

/// The deadline that settings give to a call that begins now.
#[inline]
pub(crate) fn deadline(settings: Option<&CallSettings>) -> Deadline {
    settings.map_or(Deadline::never(), CallSettings::deadline)
}

/// The metadata of settings.
///
/// # Errors
/// As [`CallSettings::metadata`].
#[inline]
pub(crate) fn metadata(settings: Option<&CallSettings>) -> Result<Option<&Metadata>, CallError> {
    match settings {
        None => Ok(None),
        Some(settings) => settings.metadata(),
    }
}

#[cold]
fn present(metadata: &Result<Metadata, MetadataError>) -> Result<Option<&Metadata>, CallError> {
    match metadata {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) => Err(CallError::Metadata(error.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(timeout: Option<u64>, idempotent: bool, entries: &[(&str, &str)]) -> CallSettings {
        let mut settings =
            CallSettings { timeout: timeout.map(Duration::from_secs), idempotent, ..CallSettings::default() };
        for (key, value) in entries {
            settings.insert(key, value);
        }
        settings
    }

    #[test]
    fn the_settings_on_top_win() {
        let inner = settings(Some(1), true, &[("a", "1"), ("b", "1")]);
        let both = inner.clone().with(&settings(Some(2), false, &[("b", "2"), ("c", "2")]));
        assert_eq!((both.timeout, both.is_idempotent()), (Some(Duration::from_secs(2)), true));
        let entries: Vec<_> = both.metadata().unwrap().unwrap().iter().collect();
        assert_eq!(entries, [("a", "1"), ("b", "2"), ("c", "2")]);
        let same = inner.clone().with(&CallSettings::default());
        assert_eq!((same.timeout, same.is_idempotent()), (inner.timeout, true));
        assert_eq!(same.metadata().unwrap(), inner.metadata().unwrap());
    }

    #[test]
    fn an_entry_that_cannot_travel_is_an_error_of_every_call() {
        let bad = settings(None, false, &[("a", "1"), ("Bad", "2"), ("b", "3")]);
        let is_key = |error| matches!(error, CallError::Metadata(MetadataError::Key { key }) if key == "Bad");
        assert!(is_key(bad.metadata().unwrap_err()));
        assert!(is_key(bad.clone().with(&settings(None, false, &[("c", "1")])).metadata().unwrap_err()));
        assert!(is_key(settings(None, false, &[("c", "1")]).with(&bad).metadata().unwrap_err()));
    }
}
