//! Errors of shared memory.

use std::io;

/// A shared memory segment could not be created, or the peer's segment could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// The requested length is zero or more than the address space can hold.
    #[error("a shared memory segment cannot be {len} bytes long: use 1 to {} bytes", isize::MAX)]
    Length {
        /// The length asked for, in bytes.
        len: usize,
    },

    /// The machine, this process or its container has too little memory left for a segment of this length.
    #[error("no memory for a shared segment of {len} bytes ({source}): use a smaller capacity, or free memory")]
    NoMemory {
        /// The length asked for, in bytes.
        len: usize,
        /// The system's reason.
        source: io::Error,
    },

    /// The process or the system has no file descriptor left for the segment.
    #[error("no file descriptor left for a shared segment: close some, or raise the limit with `ulimit -n`")]
    NoDescriptor {
        /// The system's reason.
        source: io::Error,
    },

    /// A system call on the segment failed for another reason.
    #[error("cannot {operation} a shared memory segment: {source}")]
    System {
        /// The operation that failed.
        operation: &'static str,
        /// The system's reason.
        source: io::Error,
    },

    /// The peer's descriptor is not an anonymous shared memory file.
    #[error("the peer's segment is {found}, not a memfd: the peer breaks the protocol, so do not connect to it")]
    NotSharedMemory {
        /// The kind of file that the descriptor is.
        found: &'static str,
    },

    /// The peer's segment can still be resized, so mapping the segment would be unsound.
    #[error(
        "the peer's segment is not sealed against {missing}: the peer breaks the protocol, so do not connect to it"
    )]
    NotSealed {
        /// The first missing seal: `shrinking`, `growing` or `unsealing`.
        missing: &'static str,
    },

    /// The peer's segment has another length than the handshake agreed on.
    #[error("the peer's segment is {found} bytes long instead of {expected}: run the same version on both sides")]
    WrongLength {
        /// The length that belongs to the stated geometry, in bytes.
        expected: usize,
        /// The length of the segment, in bytes.
        found: u64,
    },

    /// The peer's segment does not hold the ring that the handshake agreed on.
    #[error(
        "the peer's segment is not the agreed ring (magic {magic:#018x}, capacity {capacity}, stride {stride}): \
         run the same version on both sides"
    )]
    NotARing {
        /// The first word of the segment.
        magic: u64,
        /// The capacity that the segment states, in bytes.
        capacity: u64,
        /// The bytes from one slot to the next that the segment states.
        stride: u64,
    },
}

/// A segment's memory could not be bound to a NUMA node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NumaError {
    /// The node id is too large.
    #[error("{node} is not a NUMA node id: use 0 to 63")]
    NodeOutOfRange {
        /// The id asked for.
        node: u32,
    },

    /// The machine has no such node, or this process may not use it.
    #[error("no memory on NUMA node {node}: use a node of /sys/devices/system/node/has_memory that the cpuset allows")]
    NoSuchNode {
        /// The id asked for.
        node: u32,
    },

    /// The kernel was built without NUMA support.
    #[error("this kernel has no NUMA support: do not set a node")]
    Unsupported,

    /// The system forbids this process to place memory; container sandboxes often do.
    #[error("this process may not place memory on NUMA nodes: allow the mbind system call, or do not set a node")]
    NotPermitted,

    /// The system call failed for another reason.
    #[error("cannot bind shared memory to NUMA node {node}: {source}")]
    System {
        /// The id asked for.
        node: u32,
        /// The system's reason.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<ShmError>();
        travels::<NumaError>();
    }
}
