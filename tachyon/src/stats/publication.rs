//! A board and its place in the registry.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::board::Board;
use super::error::StatsError;
use super::layout::MAX_WORKERS;
use super::record::Record;
use super::registry::{Folder, Registration, known_path, locations};

/// A board that observers can find until this is dropped.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) board: Board,
    // Taken off the list before the descriptor that the list names is closed.
    _listed: Registration,
    _file: OwnedFd,
}

impl Publication {
    /// Makes and lists a board for the server at `path`; see [`Board::create`].
    ///
    /// # Errors
    /// [`StatsError`]: no memory, or no registry that is this user's alone.
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
        let (board, file) = Board::create(endpoints, callers, workers)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            pid: std::process::id(),
            namespace: Record::own_namespace(),
            pid_here: std::process::id(),
            descriptor: file.as_raw_fd().unsigned_abs(),
            len: board.len(),
            token: board.token(),
            started: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            path: known_path(path),
        };
        let listed = folder.register(&record)?;
        Ok(Self { board, _listed: listed, _file: file })
    }
}
