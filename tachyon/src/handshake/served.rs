//! Whether a process still serves a connection that it accepted at a path, from the system's table of sockets.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::path::absolute;

/// The columns before the path: address, references, protocol, flags, type, state, inode (`man 5 proc`).
const COLUMNS: usize = 7;
const TYPE: usize = 4;
const STATE: usize = 5;

const SEQPACKET: &[u8] = b"0005";
const CONNECTED: &[u8] = b"03";

/// Whether a socket that was accepted at `path` is still connected. False where the system does not say.
///
/// An accepted socket keeps the address of its listening socket while it is open. The table has the path in the form of
/// the bind, so a socket that was bound to a relative path is not found by the absolute path.
pub(super) fn is_served(path: &Path) -> bool {
    let table = std::fs::read("/proc/net/unix").unwrap_or_default();
    has_peer(&table, path) || has_peer(&table, &absolute(path))
}

fn has_peer(table: &[u8], path: &Path) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| {
        let mut rest = line;
        let columns: [&[u8]; COLUMNS] = core::array::from_fn(|_| {
            let column = rest.trim_ascii_start();
            let end = column.iter().position(|byte| *byte == b' ').unwrap_or(column.len());
            rest = &column[end..];
            &column[..end]
        });
        // A path may contain spaces, and follows exactly one space.
        let name = rest.strip_prefix(b" ").unwrap_or_default();
        columns[TYPE] == SEQPACKET && columns[STATE] == CONNECTED && name == path.as_os_str().as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        000000006fd8f5f3: 00000002 00000000 00010000 0005 01 26048604 /tmp/listens\n\
        000000006fd8f5f3: 00000003 00000000 00000000 0005 03 26048605 /tmp/serves\n\
        000000006fd8f5f3: 00000003 00000000 00000000 0005 03   605 /tmp/a name\n\
        000000006fd8f5f3: 00000003 00000000 00000000 0001 03 26048606 /tmp/stream\n\
        000000006fd8f5f3: 00000003 00000000 00000000 0005 03 26048607\n";

    #[test]
    fn a_connected_socket_of_our_type_and_path_counts() {
        let served = |path: &str| has_peer(TABLE, Path::new(path));
        assert!(served("/tmp/serves") && served("/tmp/a name"));
        for other in ["/tmp/listens", "/tmp/stream", "/tmp", "serves", "/tmp/serves ", "Path", "26048607"] {
            assert!(!served(other), "{other:?}");
        }
    }
}
