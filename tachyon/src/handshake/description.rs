//! The memory file that carries a callee's description to a probe. No message of the handshake has room for it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use crate::shm::{Segment, ShmError};

/// Longest accepted text, in bytes: ten times the text of 65,536 endpoints with a line each.
const LONGEST: u64 = 64 << 20;

/// Writes a text to a new memory file.
///
/// # Errors
/// [`ShmError`] when the system does not give the memory.
pub(super) fn write(text: &str) -> Result<OwnedFd, ShmError> {
    let (_, file) = Segment::create(text.len())?;
    let file = File::from(file);
    file.write_all_at(text.as_bytes(), 0).map_err(|source| ShmError::System { operation: "write", source })?;
    Ok(file.into())
}

/// Copies the text of the peer's memory file, which may change meanwhile. `None` if the bytes are no UTF-8, or too
/// many.
pub(super) fn read(file: OwnedFd) -> io::Result<Option<String>> {
    let file = File::from(file);
    let len = file.metadata()?.len();
    if len > LONGEST {
        return Ok(None);
    }
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut text, 0)?;
    Ok(String::from_utf8(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let text = "{\"schema\":2} ".repeat(10_000);
        assert_eq!(read(write(&text).unwrap()).unwrap().as_deref(), Some(&*text));
    }

    #[test]
    fn other_bytes_are_none() {
        let file = File::from(write("text").unwrap());
        file.write_all_at(&[0xff], 0).unwrap();
        assert_eq!(read(file.into()).unwrap(), None);
        let (_, long) = Segment::create(usize::try_from(LONGEST).unwrap() + 1).unwrap();
        assert_eq!(read(long).unwrap(), None);
    }
}
