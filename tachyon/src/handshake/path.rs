//! The path of a Unix socket.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::SocketAddrUnix;

/// Longest path of a Unix socket in bytes: `sun_path` without its final NUL.
pub(super) const MAX_PATH: usize = 107;

/// A path that no Unix socket can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is empty.
    #[error("the socket path is empty: pass a path such as /tmp/NAME.sock")]
    Empty,

    /// The path does not fit a socket address.
    #[error(
        "the socket path {path:?} is {len} bytes long, the system allows {MAX_PATH}: \
         use a shorter directory, or a relative path if no caller reconnects"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// The length of the path, in bytes.
        len: usize,
    },

    /// The path contains a NUL byte.
    #[error("the socket path {path:?} contains a NUL byte: remove it")]
    InteriorNul {
        /// The path.
        path: PathBuf,
    },
}

/// The absolute form of a path, for callers that reconnect after a change of the working directory. On failure the path
/// itself.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The socket address of a path.
pub(super) fn address(path: &Path) -> Result<SocketAddrUnix, PathError> {
    let bytes = path.as_os_str().as_bytes();
    let too_long = || PathError::TooLong { path: path.to_owned(), len: bytes.len() };
    if bytes.is_empty() {
        return Err(PathError::Empty);
    }
    if bytes.contains(&0) {
        return Err(PathError::InteriorNul { path: path.to_owned() });
    }
    if bytes.len() > MAX_PATH {
        return Err(too_long());
    }
    SocketAddrUnix::new(path).map_err(|_| too_long())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_longest_path_fits_and_one_byte_more_does_not() {
        let longest = "p".repeat(MAX_PATH);
        address(Path::new(&longest)).unwrap();
        let error = address(Path::new(&format!("{longest}p"))).unwrap_err();
        assert!(matches!(error, PathError::TooLong { len: 108, .. }), "{error}");
    }

    #[test]
    fn empty_and_nul_are_refused() {
        assert_eq!(address(Path::new("")), Err(PathError::Empty));
        for bytes in [&b"\0abstract"[..], b"a\0b", b"end\0"] {
            let path = Path::new(OsStr::from_bytes(bytes));
            assert_eq!(address(path), Err(PathError::InteriorNul { path: path.to_owned() }));
        }
    }
}
