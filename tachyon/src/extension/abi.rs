//! The interface between two copies of this crate: C structs, C functions, borrowed bytes.
//!
//! The *extension* has an endpoint, the *host* has the dispatch table and the ring. Nothing changes owner: text and
//! payloads are borrowed for the time of a call, and each side frees its own memory. No function lets a panic out.
//! Every change, except of the head, raises [`ABI`]. The head never changes, so that two versions can identify each
//! other.
#![allow(unsafe_code, reason = "reads memory borrowed from the other side")]

use core::ffi::c_void;
use core::slice;

/// The version of the interface.
pub(crate) const ABI: u32 = 3;

/// The first bytes of a head: `tachyon` and a zero.
pub(crate) const MAGIC: [u8; 8] = *b"tachyon\0";

/// The deadline of a call without one.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// A user without an id in this namespace: the system never assigns this number.
pub(crate) const NO_USER: u32 = u32::MAX;

/// The outcome of a step of the host.
pub(crate) mod status {
    /// Success.
    pub(crate) const DONE: u32 = 0;
    /// The reply can never fit the ring.
    pub(crate) const TOO_LARGE: u32 = 1;
    /// The caller has gone, or the request has an answer already.
    pub(crate) const OVER: u32 = 2;
}

/// Borrowed UTF-8.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Text {
    data: *const u8,
    len: usize,
}

impl Text {
    #[cfg(feature = "python")]
    pub(crate) const fn of(text: &str) -> Self {
        Self { data: text.as_ptr(), len: text.len() }
    }

    /// # Safety
    /// [`of`](Self::of) made it, of a text that lives for `'a`.
    pub(crate) unsafe fn as_str<'a>(self) -> Option<&'a str> {
        // SAFETY: the parts of a live str, as the caller promises.
        let bytes = unsafe { slice::from_raw_parts(self.data, self.len) };
        str::from_utf8(bytes).ok()
    }
}

/// The identity of the extension. The same in every version.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) magic: [u8; 8],
    pub(crate) abi: u32,
    /// Reserved: zero.
    pub(crate) flags: u32,
    /// The version of the extension's copy of this crate.
    pub(crate) version: Text,
}

/// Sizes of the structs of the interface. Two builds with different sizes do not have the same ABI.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Sizes {
    endpoint: u32,
    call: u32,
    steps: u32,
}

impl Sizes {
    #[allow(clippy::cast_possible_truncation, reason = "some tens of bytes")]
    pub(crate) const OWN: Self = Self {
        endpoint: size_of::<Endpoint>() as u32,
        call: size_of::<Call>() as u32,
        steps: size_of::<Steps>() as u32,
    };
}

/// An endpoint of the extension.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Endpoint {
    pub(crate) head: Head,
    pub(crate) sizes: Sizes,
    /// A [`Description`](crate::schema::describe::Description) of this endpoint alone, as JSON.
    pub(crate) description: Text,
    /// Handles a request, on any thread, beside other requests: gets this struct and the request.
    ///
    /// # Safety
    /// The first argument is the struct of this pointer, at its original address. The second is valid for the call.
    pub(crate) run: unsafe extern "C" fn(*const Endpoint, *const Call),
}

/// A request, and the steps to answer it.
#[repr(C)]
pub(crate) struct Call {
    /// Not null; valid for `request_len` bytes, which another process may be changing.
    pub(crate) request: *const u8,
    pub(crate) request_len: usize,
    pub(crate) correlation_id: u64,
    /// `CLOCK_MONOTONIC` nanoseconds, or [`NO_DEADLINE`].
    pub(crate) deadline: u64,
    pub(crate) caller_id: u64,
    /// 0 if the caller's process is not visible.
    pub(crate) caller_pid: u32,
    /// [`NO_USER`] if the caller's user is not mapped.
    pub(crate) caller_uid: u32,
    /// The metadata as it travels, behind an empty payload; not null.
    pub(crate) metadata: *const u8,
    /// Bytes of the metadata; 0 without metadata.
    pub(crate) metadata_len: usize,
    /// The first argument of all `steps`.
    pub(crate) host: *mut c_void,
    /// Valid for the call.
    pub(crate) steps: *const Steps,
}

/// The steps of an answer. Each takes `Call::host`, on any thread, one thread at a time, and returns a [`status`].
///
/// # Safety
/// The first argument is `Call::host` of a call that has not returned, and the pointers are valid.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Steps {
    /// Replies with a copy of bytes. If they are too many, the last argument receives the most that the ring holds.
    pub(crate) send: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut usize) -> u32,
    /// Takes room for so many initialised bytes. The address is valid until the commit, or the end of the call.
    pub(crate) reserve: unsafe extern "C" fn(*mut c_void, usize, *mut *mut u8, *mut usize) -> u32,
    /// Replies with the first bytes of the room.
    pub(crate) commit: unsafe extern "C" fn(*mut c_void, usize) -> u32,
    /// Answers with an error: the number of an [`ErrorKind`](crate::ErrorKind), its text, and the name and fields of a
    /// declared error.
    pub(crate) fail: unsafe extern "C" fn(*mut c_void, u32, Text, Text, *const u8, usize),
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    /// A change here is a change of [`ABI`].
    #[test]
    fn the_structs_have_the_layout_of_version_3() {
        assert_eq!(ABI, 3);
        assert_eq!((offset_of!(Head, abi), offset_of!(Head, version), size_of::<Head>()), (8, 16, 32));
        assert_eq!((size_of::<Endpoint>(), size_of::<Call>(), size_of::<Steps>()), (72, 80, 32));
        assert_eq!((offset_of!(Endpoint, sizes), offset_of!(Endpoint, run)), (32, 64));
        assert_eq!((offset_of!(Call, caller_id), offset_of!(Call, host)), (32, 64));
    }
}
