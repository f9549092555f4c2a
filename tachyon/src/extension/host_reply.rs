//! The guest's side of an answer: what a handler writes goes to the host's ring.
#![allow(unsafe_code, reason = "calls the host, and writes into room it lends")]

use core::ffi::c_void;
use core::ptr;
use core::ptr::NonNull;
use core::slice;

use super::abi::{Steps, Text, status};
use crate::connection::{Halt, Unsent};
use crate::engine::{ErrorBody, ErrorKind};

/// The way to the host, for one answer.
#[derive(Clone, Copy)]
pub(crate) struct HostReply<'a> {
    host: *mut c_void,
    steps: &'a Steps,
}

// SAFETY: the host's answer may be on any thread, one at a time (`Steps`), and a reply is used by its owner alone.
unsafe impl Send for HostReply<'_> {}

impl core::fmt::Debug for HostReply<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostReply").field("host", &self.host).finish_non_exhaustive()
    }
}

impl<'a> HostReply<'a> {
    /// # Safety
    /// Both are those of a [`Call`](super::Call) that does not return during `'a`.
    pub(crate) unsafe fn new(host: *mut c_void, steps: &'a Steps) -> Self {
        Self { host, steps }
    }

    /// Answers with a copy.
    pub(crate) fn send(self, payload: &[u8]) -> Result<(), Unsent> {
        let mut max = 0;
        // SAFETY: the host and its steps are of a call that goes on, by `new`; the bytes and `max` live through it.
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

    /// Has the host answer with an error.
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
        // The host knows better what ended it, and keeps that.
        _ => Err(Unsent::Halted(Halt::Closed)),
    }
}

/// Room in the host's ring, for one answer.
#[derive(Debug)]
pub(crate) struct HostRoom<'a> {
    reply: HostReply<'a>,
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is the owner's alone until it is committed; for the rest as `HostReply`.
unsafe impl Send for HostRoom<'_> {}
// SAFETY: a shared room is only read.
unsafe impl Sync for HostRoom<'_> {}

impl HostRoom<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `reserve` gave room of `len` initialised bytes, valid until the call returns, which is after 'a; only
        // this struct knows it, and it is borrowed. The host touches it no more before `commit`, which takes the struct.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// Answers with the first `len` bytes.
    pub(crate) fn commit(self, len: usize) {
        // SAFETY: the host and its steps are of a call that goes on. What becomes of the answer the host sees by itself.
        unsafe { (self.reply.steps.commit)(self.reply.host, len) };
    }
}
