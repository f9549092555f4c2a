//! The program `service`: its endpoints, and a place for its socket and its log.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{Peer, Program};

/// Sends the request back.
pub const ECHO: u16 = 1;
/// Appends the request to the log, then sends it back.
pub const RECORD: u16 = 2;
/// Does the same as [`RECORD`], but the server that executes the first such request dies before it answers.
pub const RECORD_AND_DIE_ONCE: u16 = 3;
/// Sleeps for the milliseconds in the request, a little-endian `u64`, then sends the request back.
pub const SLEEP: u16 = 4;
/// Stops the server.
pub const STOP: u16 = 5;
/// A stream of numbers from 1 up, each a little-endian `u64`. It ends before the number in the request.
pub const COUNT: u16 = 6;
/// A stream of the caller's items. The reply is their number, a little-endian `u64`.
pub const UPLOAD: u16 = 7;

/// A folder with the socket and the log of servers that follow each other.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    program: Program,
}

impl Place {
    /// A new place for `program`, the program `service`.
    ///
    /// # Panics
    /// When the system refuses a folder for temporary files.
    pub fn new(program: Program) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for temporary files"), program }
    }

    /// The path where servers listen.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("service.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts a server with rings of `ring` bytes.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn serve(&self, ring: usize) -> Peer {
        let text = |path: &Path| path.to_str().expect("temporary paths are text").to_owned();
        self.program.start("serve", &self.socket(), &[&text(&self.log()), &ring.to_string()])
    }

    /// The requests that all servers so far have executed, in that order.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn executed(&self) -> Vec<u64> {
        let log = std::fs::read(self.log()).expect("servers write a log");
        log.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }
}
