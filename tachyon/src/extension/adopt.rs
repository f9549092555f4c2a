//! The host: makes an endpoint of another copy of this crate a handler of the dispatch table.
#![allow(unsafe_code, reason = "calls another copy of this crate")]

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::slice;

use thiserror::Error;

use crate::dispatch::{HandlerError, HandlerResult, OwnedHandler, Reply, ReplyBuffer, Request};
use crate::engine::ErrorKind;
use crate::extension::{ABI, Call, Endpoint, Head, MAGIC, NO_DEADLINE, NO_USER, Sizes, Steps, Text, status};
use crate::foreign;
use crate::schema::describe::{Description, EndpointDescription};

/// Why an endpoint of another copy of this crate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NativeError {
    /// The object is no endpoint.
    #[error("this is no endpoint that a Rust extension exported")]
    Foreign,
    /// The extension's copy of the crate has another interface.
    #[error(
        "this extension was built with tachyon {theirs} (interface {their_abi}) and is used with tachyon {} \
         (interface {ABI}); build both with the same version",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The version of the extension's copy of the crate.
        theirs: String,
        /// The version of the extension's interface.
        their_abi: u32,
    },
    /// The endpoint's description cannot be read.
    #[error("the description of this extension's endpoint cannot be read: {0}")]
    Description(String),
}

/// An endpoint of an extension, usable on any thread.
#[derive(Clone, Copy)]
struct ForeignEndpoint {
    /// At its original address. The extension owns the memory, of which the endpoint is the beginning.
    endpoint: NonNull<Endpoint>,
    run: unsafe extern "C" fn(*const Endpoint, *const Call),
}

// SAFETY: the endpoint is only read, and its `run` may be called on any thread beside other calls: the ABI says so, and
// the extension's `export` requires it of the state and the handler.
unsafe impl Send for ForeignEndpoint {}
// SAFETY: as above.
unsafe impl Sync for ForeignEndpoint {}

/// Makes a handler of an endpoint that another copy of this crate exported. `keep` keeps the endpoint alive, and is
/// dropped with the handler.
///
/// # Errors
/// [`NativeError`]. Of an endpoint of another version, only the head is read.
///
/// # Safety
/// `python::export` of any version made `endpoint`, which stays valid until the drop of `keep`.
pub unsafe fn adopt<K: Send + Sync + 'static>(
    endpoint: NonNull<c_void>,
    keep: K,
) -> Result<(EndpointDescription, OwnedHandler<()>), NativeError> {
    // SAFETY: every version's endpoint begins with this head.
    let head = unsafe { endpoint.cast::<Head>().read() };
    if head.magic != MAGIC {
        return Err(NativeError::Foreign);
    }
    // SAFETY: a constant of the extension.
    let theirs = unsafe { head.version.as_str() }.unwrap_or("of unknown version").to_owned();
    if head.abi != ABI {
        return Err(NativeError::Version { theirs, their_abi: head.abi });
    }
    let endpoint = endpoint.cast::<Endpoint>();
    let sizes = endpoint.as_ptr().wrapping_byte_add(offset_of!(Endpoint, sizes)).cast::<Sizes>();
    // SAFETY: every endpoint of this ABI version has the sizes behind its head, also a build with other sizes.
    let sizes = unsafe { sizes.read() };
    if sizes != Sizes::OWN {
        return Err(NativeError::Version { theirs, their_abi: head.abi });
    }
    // SAFETY: valid, of this version, and never changed.
    let Endpoint { description, run, .. } = unsafe { endpoint.read() };
    // SAFETY: text of the extension, which lives as long as the endpoint.
    let json = unsafe { description.as_str() }.unwrap_or_default();
    let read = Description::from_json(json).map_err(|error| NativeError::Description(error.to_string()))?;
    let Some(description) = read.endpoints.into_iter().next() else {
        return Err(NativeError::Description("it has no endpoint".to_owned()));
    };
    let foreign = ForeignEndpoint { endpoint, run };
    let handler = move |(): &(), request: Request<'_>, reply: Reply<'_>| {
        let _ = &keep;
        // SAFETY: of this version, and valid for as long as `keep` is there.
        unsafe { handle(foreign, &request, reply) }
    };
    Ok((description, Box::new(handler)))
}

/// Passes a request to the extension, which answers it.
///
/// # Safety
/// The endpoint is of this version, and valid.
unsafe fn handle(
    ForeignEndpoint { endpoint, run }: ForeignEndpoint,
    request: &Request<'_>,
    reply: Reply<'_>,
) -> HandlerResult {
    let mut answer = Answer::Unsent(reply);
    let caller = request.caller();
    let metadata = request.metadata();
    let metadata = if metadata.is_empty() { Vec::new() } else { metadata.encode() };
    let call = Call {
        request: request.payload().as_ptr(),
        request_len: request.payload().len(),
        correlation_id: request.correlation_id(),
        deadline: request.deadline().nanos().unwrap_or(NO_DEADLINE),
        caller_id: caller.id,
        caller_pid: caller.pid.unwrap_or(0),
        caller_uid: caller.uid.unwrap_or(NO_USER),
        metadata: metadata.as_ptr(),
        metadata_len: metadata.len(),
        host: ptr::from_mut(&mut answer).cast(),
        steps: &raw const STEPS,
    };
    // SAFETY: the endpoint is at its original address, and the call outlives this function; the extension lets no panic
    // out.
    unsafe { run(endpoint.as_ptr(), &raw const call) };
    match answer {
        Answer::Over(outcome) => outcome,
        Answer::Unsent(_) | Answer::Room(_) | Answer::Moving => {
            Err(HandlerError::new(ErrorKind::BadReply, "returned without an answer"))
        }
    }
}

/// The progress of the answer to one request.
enum Answer<'a> {
    Unsent(Reply<'a>),
    Room(ReplyBuffer<'a>),
    Over(HandlerResult),
    /// Between two states, and after a panic.
    Moving,
}

/// An extension may answer on another thread than the one that waits.
const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Answer<'_>>();
};

static STEPS: Steps = Steps { send, reserve, commit, fail };

/// Runs a step, and lets no panic out.
///
/// # Safety
/// `host` is that of a call that has not returned, and no other thread uses it meanwhile.
unsafe fn step(host: *mut c_void, max: *mut usize, step: impl FnOnce(&mut Answer<'_>) -> u32) -> u32 {
    // SAFETY: `handle` made it of an answer, and waits for the extension.
    let answer = unsafe { &mut *host.cast::<Answer<'_>>() };
    match foreign::run(|| step(answer)) {
        Ok(status) => {
            if let Answer::Over(Err(error)) = answer
                && let Some(limit) = error.reply_limit()
                && !max.is_null()
            {
                // SAFETY: not null: a valid place of the extension.
                unsafe { max.write(limit) };
            }
            status
        }
        Err(panicked) => {
            *answer = Answer::Over(Err(HandlerError::failed(panicked)));
            status::OVER
        }
    }
}

/// Records the error of a step.
fn failed(answer: &mut Answer<'_>, error: HandlerError) -> u32 {
    let status = if error.reply_limit().is_some() { status::TOO_LARGE } else { status::OVER };
    *answer = Answer::Over(Err(error));
    status
}

unsafe extern "C" fn send(host: *mut c_void, data: *const u8, len: usize, max: *mut usize) -> u32 {
    let send = |answer: &mut Answer<'_>| {
        let Answer::Unsent(reply) = core::mem::replace(answer, Answer::Moving) else { return status::OVER };
        // SAFETY: a slice of the foreign's, lent for this call.
        match reply.bytes(unsafe { slice::from_raw_parts(data, len) }) {
            Ok(replied) => {
                *answer = Answer::Over(Ok(replied));
                status::DONE
            }
            Err(error) => failed(answer, error),
        }
    };
    // SAFETY: as this function's caller promises.
    unsafe { step(host, max, send) }
}

unsafe extern "C" fn reserve(host: *mut c_void, len: usize, data: *mut *mut u8, max: *mut usize) -> u32 {
    let reserve = |answer: &mut Answer<'_>| {
        let Answer::Unsent(reply) = core::mem::replace(answer, Answer::Moving) else { return status::OVER };
        match reply.reserve(len) {
            Ok(mut room) => {
                let place = room.as_mut_ptr();
                *answer = Answer::Room(room);
                // SAFETY: a valid place of the extension.
                unsafe { data.write(place) };
                status::DONE
            }
            Err(error) => failed(answer, error),
        }
    };
    // SAFETY: as this function's caller promises.
    unsafe { step(host, max, reserve) }
}

unsafe extern "C" fn commit(host: *mut c_void, len: usize) -> u32 {
    let commit = |answer: &mut Answer<'_>| {
        let Answer::Room(room) = core::mem::replace(answer, Answer::Moving) else { return status::OVER };
        *answer = Answer::Over(Ok(room.commit(len)));
        status::DONE
    };
    // SAFETY: as this function's caller promises.
    unsafe { step(host, ptr::null_mut(), commit) }
}

unsafe extern "C" fn fail(host: *mut c_void, kind: u32, text: Text, name: Text, fields: *const u8, len: usize) {
    let fail = |answer: &mut Answer<'_>| {
        // An error of the ring stays: it is closer to the cause.
        if !matches!(answer, Answer::Over(Err(_))) {
            let kind = u16::try_from(kind).map_or(ErrorKind::Unspecified, ErrorKind::from_number);
            // SAFETY: text of the extension, borrowed for this call.
            let text = unsafe { text.as_str() }.unwrap_or_default();
            // SAFETY: as above.
            let name = unsafe { name.as_str() }.unwrap_or_default();
            let error = if name.is_empty() {
                HandlerError::new(kind, text)
            } else {
                // SAFETY: a slice of the extension, borrowed for this call.
                HandlerError::named(kind, name, text, unsafe { slice::from_raw_parts(fields, len) }.to_vec())
            };
            *answer = Answer::Over(Err(error));
        }
        status::DONE
    };
    // SAFETY: as this function's caller promises.
    unsafe { step(host, ptr::null_mut(), fail) };
}
