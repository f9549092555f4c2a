//! Statistics that are listed in the registry.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::StatsError;
use super::layout::MAX_WORKERS;
use super::record::Record;
use super::registry::{Folder, Registration, known_path, locations};
use super::writer::StatsWriter;

/// Statistics that observers can find until the drop.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) writer: StatsWriter,
    // Dropped before `_file`: the list names the descriptor.
    _listed: Registration,
    _file: OwnedFd,
}

impl Publication {
    /// Makes and lists the statistics of the server at `path`; see [`StatsWriter::create`].
    ///
    /// # Errors
    /// [`StatsError`]: no memory, or no registry that belongs to this user alone.
    pub(crate) fn new<'a>(
        path: &Path,
        endpoints: impl ExactSizeIterator<Item = (u16, &'a str)>,
        callers: usize,
        workers: usize,
    ) -> Result<Self, StatsError> {
        if workers > MAX_WORKERS {
            return Err(StatsError::TooManyWorkers { workers, most: MAX_WORKERS });
        }
        let folder = locations().into_iter().next().unwrap_or_default();
        let folder = Arc::new(Folder::create(&folder)?);
        let (writer, file) = StatsWriter::create(endpoints, callers, workers)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            pid: std::process::id(),
            namespace: Record::own_namespace(),
            pid_here: std::process::id(),
            descriptor: file.as_raw_fd().unsigned_abs(),
            len: writer.len(),
            token: writer.token(),
            started: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            path: known_path(path),
        };
        let listed = folder.register(&record)?;
        Ok(Self { writer, _listed: listed, _file: file })
    }
}
