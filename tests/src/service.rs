//! The program `service`, as the tests of the calling side start, kill and ask it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Peer;

/// Message types of its endpoints.
pub const ECHO: u16 = 1;
/// Appends the request to the log, then sends it back.
pub const RECORD: u16 = 2;
/// As [`RECORD`], but whoever executes the first one dies before it answers.
pub const RECORD_AND_DIE_ONCE: u16 = 3;
/// Sleeps for as many milliseconds as its request, a little-endian `u64`, says.
pub const SLEEP: u16 = 4;
/// Stops the server in good order.
pub const STOP: u16 = 5;

/// A socket and a log in a folder of their own, and how to start a server there.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    program: &'static str,
}

impl Place {
    /// A new place for `program` (`env!("CARGO_BIN_EXE_service")`).
    ///
    /// # Panics
    /// When there can be no folder for temporary files.
    pub fn new(program: &'static str) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for temporary files"), program }
    }

    /// Where servers listen.
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
        Peer::start(self.program, "serve", &self.socket(), &[&text(&self.log()), &ring.to_string()])
    }

    /// What all servers so far executed, as `u64`s in the order of execution.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn executed(&self) -> Vec<u64> {
        let log = std::fs::read(self.log()).expect("servers write a log");
        log.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }
}
