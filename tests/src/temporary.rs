//! Files of one test.

use std::path::PathBuf;

use tempfile::TempDir;

/// A path for a socket in a new folder. Dropping the folder removes it.
///
/// # Panics
/// When the system refuses a folder for temporary files.
pub fn socket() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("server.sock");
    (folder, path)
}
