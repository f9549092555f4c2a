//! What can go wrong between a server's statistics and who reads them.

use std::io;
use std::path::PathBuf;

use crate::shm::ShmError;

/// Why statistics cannot be published or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// No live server publishes statistics for this path.
    #[error("no live server of this user publishes statistics for {path:?}: start one, with statistics on")]
    NoServer {
        /// The path asked for.
        path: PathBuf,
    },

    /// The folder that lists the servers is not this user's alone, so what it says cannot be trusted.
    #[error(
        "{path:?}, where servers are listed, {fault}: remove it, or set TACHYON_RUNTIME_DIR to a folder of your own"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// Another process keeps the list of servers locked.
    #[error("{path:?}, where servers are listed, stays locked by another process: try again")]
    Locked {
        /// The folder.
        path: PathBuf,
    },

    /// A system call on the list of servers failed.
    #[error("cannot {operation} {path:?}: {source}")]
    System {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The server's memory cannot be opened: it has just ended, or does not let itself be looked into.
    #[error("cannot open the statistics of process {pid}: {source}")]
    Open {
        /// The server.
        pid: u32,
        /// The system's reason.
        source: io::Error,
    },

    /// There is no memory for the statistics, or what is published is no sealed memory.
    #[error("{0}")]
    Memory(#[from] ShmError),

    /// What is published is not what a server of this version writes.
    #[error("these are no statistics of this version ({0}): run the same version on both sides")]
    Malformed(&'static str),

    /// A board counts for a limited number of threads.
    #[error("statistics are kept for at most {most} workers, not {workers}: use fewer, or switch statistics off")]
    TooManyWorkers {
        /// Workers asked for.
        workers: usize,
        /// Most there can be.
        most: usize,
    },
}
