//! The extension's side of an answer: the bytes of a handler go to the host's ring.
#![allow(unsafe_code, reason = "calls the host, and writes to memory borrowed from it")]

use core::ffi::c_void;
use core::ptr::NonNull;
use core::{ptr, slice};

use super::abi::{Steps, Text, status};
use crate::connection::{Halt, Unsent};
use crate::engine::{ErrorBody, ErrorKind};

/// The answer to one request, through the host.
#[derive(Clone, Copy)]
pub(crate) struct HostReply<'a> {
    host: *mut c_void,
    steps: &'a Steps,
}

// SAFETY: the steps may run on any thread, one at a time (`Steps`), and a reply has one owner.
unsafe impl Send for HostReply<'_> {}

impl core::fmt::Debug for HostReply<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostReply").field("host", &self.host).finish_non_exhaustive()
    }
}

impl<'a> HostReply<'a> {
    /// # Safety
    /// `host` and `steps` belong to one [`Call`](super::Call), which does not return during `'a`.
    pub(crate) unsafe fn new(host: *mut c_void, steps: &'a Steps) -> Self {
        Self { host, steps }
    }

    /// Replies with a copy.
    pub(crate) fn send(self, payload: &[u8]) -> Result<(), Unsent> {
        let mut max = 0;
        // SAFETY: the call of host and steps has not returned, by `new`; the bytes and `max` live during the step.
        let status = unsafe { (self.steps.send)(self.host, payload.as_ptr(), payload.len(), &raw mut max) };
        outcome(status, payload.len(), max)
    }

    /// Takes room for `len` bytes.
    pub(crate) fn reserve(self, len: usize) -> Result<HostRoom<'a>, Unsent> {
        let (mut data, mut max) = (ptr::null_mut(), 0);
        // SAFETY: as in `send`.
        let status = unsafe { (self.steps.reserve)(self.host, len, &raw mut data, &raw mut max) };
        outcome(status, len, max)?;
        let data = NonNull::new(data).ok_or(Unsent::Halted(Halt::Closed))?;
        Ok(HostRoom { reply: self, data, len })
    }

    /// Answers with an error.
    pub(crate) fn fail(self, kind: ErrorKind, body: ErrorBody<'_>) {
        let ErrorBody { name, text, fields } = body;
        let (text, name) = (Text::of(text), Text::of(name));
        // SAFETY: as in `send`.
        unsafe { (self.steps.fail)(self.host, kind as u32, text, name, fields.as_ptr(), fields.len()) };
    }
}

fn outcome(status: u32, size: usize, max: usize) -> Result<(), Unsent> {
    match status {
        status::DONE => Ok(()),
        status::TOO_LARGE => Err(Unsent::TooLarge { size, max }),
        // The host keeps the actual reason.
        _ => Err(Unsent::Halted(Halt::Closed)),
    }
}

/// Room in the host's ring for one reply.
#[derive(Debug)]
pub(crate) struct HostRoom<'a> {
    reply: HostReply<'a>,
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: only the owner uses the memory until the commit; otherwise as `HostReply`.
unsafe impl Send for HostRoom<'_> {}
// SAFETY: shared room is only read.
unsafe impl Sync for HostRoom<'_> {}

impl HostRoom<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `reserve` returned `len` initialised bytes, valid until the call returns, which is after 'a. Only
        // this struct has the address, and it is borrowed. The host does not use the bytes before `commit`, which
        // consumes the struct.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// Replies with the first `len` bytes.
    pub(crate) fn commit(self, len: usize) {
        // SAFETY: the call of host and steps has not returned. The host records the outcome.
        unsafe { (self.reply.steps.commit)(self.reply.host, len) };
    }
}
