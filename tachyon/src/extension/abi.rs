//! What passes between two copies of this crate: C structs, C functions, borrowed bytes.
//!
//! The *guest* has an endpoint, the *host* a table and the ring. Nothing changes owner: text and payloads are lent for
//! the length of a call, and each side frees what it has made. No function here lets a panic out. A change of anything
//! but the head raises [`ABI`]; the head stays as it is for ever, so that two versions can say which they are.
#![allow(unsafe_code, reason = "reads what the other side lends")]

use core::ffi::c_void;
use core::slice;

/// The version of everything below the head.
pub(crate) const ABI: u32 = 2;

/// What a head begins with: `tachyon` and a zero.
pub(crate) const MAGIC: [u8; 8] = *b"tachyon\0";

/// The deadline of a call that has none.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// A user without an id here: the system gives this number to nobody.
pub(crate) const NO_USER: u32 = u32::MAX;

/// How a step of the host's ended.
pub(crate) mod status {
    /// As it should.
    pub(crate) const DONE: u32 = 0;
    /// The reply can never fit the ring.
    pub(crate) const TOO_LARGE: u32 = 1;
    /// There is nobody to reply to, or nothing that may still be done.
    pub(crate) const OVER: u32 = 2;
}

/// UTF-8 that is lent.
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
    /// It was made by [`of`](Self::of), and what it was made of lives for `'a`.
    pub(crate) unsafe fn as_str<'a>(self) -> Option<&'a str> {
        // SAFETY: the parts of a live str, as the caller promises.
        let bytes = unsafe { slice::from_raw_parts(self.data, self.len) };
        str::from_utf8(bytes).ok()
    }
}

/// Who the guest is. The same in every version.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) magic: [u8; 8],
    pub(crate) abi: u32,
    /// Reserved: zero.
    pub(crate) flags: u32,
    /// The version of the guest's copy of this crate.
    pub(crate) version: Text,
}

/// Sizes of the structs of the border, to be compared: two builds of one ABI that differ here are not of one ABI.
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

/// An endpoint of the guest's.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Endpoint {
    pub(crate) head: Head,
    pub(crate) sizes: Sizes,
    /// A [`Description`](crate::schema::describe::Description) of this endpoint alone, as JSON.
    pub(crate) description: Text,
    /// Handles a request, on any thread, beside any other: gets this struct and the request.
    ///
    /// # Safety
    /// The first is the struct that this pointer is from, at the address where its maker put it; the second is valid for
    /// the call.
    pub(crate) run: unsafe extern "C" fn(*const Endpoint, *const Call),
}

/// A request, and what the guest answers it with.
#[repr(C)]
pub(crate) struct Call {
    /// Not null; valid for `request_len` bytes, which another process may be changing.
    pub(crate) request: *const u8,
    pub(crate) request_len: usize,
    pub(crate) correlation_id: u64,
    /// `CLOCK_MONOTONIC` nanoseconds, or [`NO_DEADLINE`].
    pub(crate) deadline: u64,
    pub(crate) caller_id: u64,
    /// 0 where it is not visible.
    pub(crate) caller_pid: u32,
    /// [`NO_USER`] where it is not mapped.
    pub(crate) caller_uid: u32,
    /// What `steps` work on.
    pub(crate) host: *mut c_void,
    /// Valid for the call.
    pub(crate) steps: *const Steps,
}

/// The host's part in an answer: each takes `Call::host`, on any thread but by one at a time, and gives a [`status`].
///
/// # Safety
/// The first argument is `Call::host` of a call that has not returned, and the pointers are valid.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Steps {
    /// Answers with a copy of bytes. What the ring can hold at most goes to the last argument when they are too many.
    pub(crate) send: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut usize) -> u32,
    /// Takes room for so many bytes, which are initialised, and gives its address, valid until the call returns or the
    /// room is committed.
    pub(crate) reserve: unsafe extern "C" fn(*mut c_void, usize, *mut *mut u8, *mut usize) -> u32,
    /// Answers with the first bytes of the room.
    pub(crate) commit: unsafe extern "C" fn(*mut c_void, usize) -> u32,
    /// Answers with an error: an [`ErrorKind`](crate::ErrorKind) as number, its text, and a declared error's name and
    /// fields.
    pub(crate) fail: unsafe extern "C" fn(*mut c_void, u32, Text, Text, *const u8, usize),
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    /// A change here is a change of [`ABI`].
    #[test]
    fn the_structs_lie_as_version_2_has_them() {
        assert_eq!(ABI, 2);
        assert_eq!((offset_of!(Head, abi), offset_of!(Head, version), size_of::<Head>()), (8, 16, 32));
        assert_eq!((size_of::<Endpoint>(), size_of::<Call>(), size_of::<Steps>()), (72, 64, 32));
        assert_eq!((offset_of!(Endpoint, sizes), offset_of!(Endpoint, run)), (32, 64));
        assert_eq!((offset_of!(Call, caller_id), offset_of!(Call, host)), (32, 48));
    }
}
