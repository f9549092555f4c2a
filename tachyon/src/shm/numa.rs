//! Placing a segment's memory on a NUMA node.
#![allow(unsafe_code, reason = "mbind has no safe wrapper")]

use std::io;

use libc::{c_int, c_long, c_uint, c_ulong};
use memmap2::Advice;

use super::{NumaError, Segment};

/// Allocates on the given node, and elsewhere if that node is full: a full node must not kill the process.
const MPOL_PREFERRED: c_int = 1;
/// Moves allocated pages, unless another process has mapped them.
const MPOL_MF_MOVE: c_uint = 1 << 1;

/// Nodes that the mask has bits for: 64 on every machine.
const NODES: u32 = 64;
const WORDS: usize = (NODES / c_ulong::BITS) as usize;
/// The kernel subtracts one from this number of bits.
const MAX_NODE: c_ulong = NODES as c_ulong + 1;

impl Segment {
    /// Prefers memory of NUMA node `node` (0..=63) for this segment, and moves its allocated pages there.
    ///
    /// The kernel does not move pages that the peer has touched, so call this right after connecting. The contents do
    /// not change.
    ///
    /// # Errors
    ///
    /// [`NumaError`] if the node, the kernel or a sandbox prevents this. The segment stays usable.
    pub(crate) fn bind_to_node(&self, node: u32) -> Result<(), NumaError> {
        let mask = node_mask(node)?;
        // Only pages in this process's page table are moved, so all pages are populated first. A kernel before 5.14
        // cannot populate them and moves only the touched pages, which is harmless.
        match self.mapping().advise(Advice::PopulateWrite) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                return Err(NumaError::System { node, source: error });
            }
            _ => {}
        }
        // SAFETY: the address and length are exactly those of a mapping that lives as long as `self`; the mask is a
        // live array of `MAX_NODE - 1` bits that the kernel only reads. mbind changes where pages are, never what they
        // hold nor how they may be accessed, so no pointer into the segment is invalidated.
        let outcome: c_long = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.as_ptr().as_ptr(),
                self.len(),
                MPOL_PREFERRED,
                mask.as_ptr(),
                MAX_NODE,
                MPOL_MF_MOVE,
            )
        };
        if outcome == 0 { Ok(()) } else { Err(refused(node, io::Error::last_os_error())) }
    }
}

fn node_mask(node: u32) -> Result<[c_ulong; WORDS], NumaError> {
    if node >= NODES {
        return Err(NumaError::NodeOutOfRange { node });
    }
    let mut mask = [0; WORDS];
    mask[(node / c_ulong::BITS) as usize] = 1 << (node % c_ulong::BITS);
    Ok(mask)
}

fn refused(node: u32, source: io::Error) -> NumaError {
    match source.raw_os_error() {
        Some(libc::EINVAL) => NumaError::NoSuchNode { node },
        Some(libc::ENOSYS) => NumaError::Unsupported,
        Some(libc::EPERM) => NumaError::NotPermitted,
        _ => NumaError::System { node, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_beyond_the_mask_is_refused() {
        let (segment, _fd) = Segment::create(4096).unwrap();
        for node in [64, 65, u32::MAX] {
            assert!(matches!(segment.bind_to_node(node), Err(NumaError::NodeOutOfRange { node: n }) if n == node));
        }
    }

    #[test]
    fn the_mask_names_exactly_one_node() {
        for node in 0..NODES {
            let mask = node_mask(node).unwrap();
            let (word, bit) = ((node / c_ulong::BITS) as usize, node % c_ulong::BITS);
            assert_eq!(mask[word], 1 << bit);
            assert_eq!(mask.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
        }
    }

    #[test]
    fn binding_keeps_the_contents() {
        let (segment, _fd) = Segment::create(3 * 4096).unwrap();
        segment.poke(5000, 42);
        match segment.bind_to_node(0) {
            // A kernel or a sandbox without mbind reports an error, and the segment stays intact.
            Ok(()) | Err(NumaError::Unsupported | NumaError::NotPermitted) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(segment.peek(5000), 42);
    }

    #[test]
    fn a_node_the_machine_lacks_is_named() {
        let (segment, _fd) = Segment::create(4096).unwrap();
        if std::path::Path::new("/sys/devices/system/node/node63").exists() {
            return;
        }
        let error = segment.bind_to_node(63).unwrap_err();
        assert!(
            matches!(error, NumaError::NoSuchNode { node: 63 } | NumaError::Unsupported | NumaError::NotPermitted),
            "{error}"
        );
    }
}
