//! Memory that keeps a system call waiting for ever.
#![allow(unsafe_code, reason = "`userfaultfd` has no safe interface")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use memmap2::MmapMut;

use crate::sandbox::checked;

/// A page that the kernel never provides: a system call that reads or writes it waits until its thread is killed.
#[derive(Debug)]
pub struct MissingPage {
    memory: MmapMut,
    /// While this descriptor is open, a thread that needs the page waits for this process to provide it.
    faults: OwnedFd,
}

impl MissingPage {
    /// # Errors
    /// When the system does not let this process handle the page faults of system calls.
    pub fn new() -> io::Result<Self> {
        const API: libc::Ioctl = 0xC018_AA3F;
        const REGISTER: libc::Ioctl = 0xC020_AA00;
        const VERSION: u64 = 0xAA;
        const MISSING: u64 = 1;
        // SAFETY: takes a number only.
        let raw = checked(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        let raw = i32::try_from(raw).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        let faults = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut memory = MmapMut::map_anon(4096)?;
        // The version, the features, and room for the answer.
        let mut greeting = [VERSION, 0, 0];
        // SAFETY: the request reads and writes the three words.
        let greeted = unsafe { libc::ioctl(faults.as_raw_fd(), API, greeting.as_mut_ptr()) };
        checked(greeted.into())?;
        // Address, length, the kind of faults, and room for the answer.
        let mut range = [memory.as_mut_ptr() as u64, memory.len() as u64, MISSING, 0];
        // SAFETY: the request reads and writes the four words. `Self` owns both, so the memory is mapped for as long as
        // the descriptor is open.
        let registered = unsafe { libc::ioctl(faults.as_raw_fd(), REGISTER, range.as_mut_ptr()) };
        checked(registered.into())?;
        Ok(Self { memory, faults })
    }

    /// A descriptor that becomes readable when a thread waits for the page.
    ///
    /// # Errors
    /// When this process may have no more descriptors.
    pub fn awaited(&self) -> io::Result<OwnedFd> {
        self.faults.try_clone()
    }

    /// The bytes of the page. Reading or writing them outside of a system call waits as well.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}
