//! Errors of publishing and of reading statistics.

use std::io;
use std::path::PathBuf;

use crate::shm::ShmError;

/// Why statistics cannot be published or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// No live server of this user publishes statistics for the path.
    #[error("no live server of this user publishes statistics for {path:?}: start one, with statistics on")]
    NoServer {
        /// The path of the server.
        path: PathBuf,
    },

    /// Other users can write to the folder that lists the servers, so the list cannot be trusted.
    #[error("{path:?}, the list of servers, {fault}: remove it, or set TACHYON_RUNTIME_DIR to a folder of your own")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The fault of the folder.
        fault: &'static str,
    },

    /// Another process keeps the list of servers locked.
    #[error("another process keeps {path:?}, the list of servers, locked: try again")]
    Locked {
        /// The folder.
        path: PathBuf,
    },

    /// A system call on the list of servers failed.
    #[error("cannot {operation} {path:?}: {source}")]
    System {
        /// The verb of the operation.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The server's memory cannot be opened: the server has just ended, or its process is not dumpable.
    #[error("cannot open the statistics of process {pid}: {source}")]
    Open {
        /// The server's process.
        pid: u32,
        /// The system's error.
        source: io::Error,
    },

    /// The system has no memory for the statistics, or the published file is not sealed memory.
    #[error("{0}")]
    Memory(#[from] ShmError),

    /// The published memory is not that of a server of this version.
    #[error("these are no statistics of this version ({0}): run the same version on both sides")]
    Malformed(&'static str),

    /// Too many worker threads for statistics.
    #[error("statistics are kept for at most {most} workers, not {workers}: use fewer, or switch statistics off")]
    TooManyWorkers {
        /// Workers of the server.
        workers: usize,
        /// Most workers with statistics.
        most: usize,
    },
}
