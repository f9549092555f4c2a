//! Endpoints that answer with every kind of a handler's error, and a caller that checks each answer.
//!
//! `tests/python/services/kinds.py` serves the endpoints 1 to 6 in Python.

#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]
#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc, reason = "a test fails by panicking")]

use core::fmt::Debug;

use tachyon::dispatch::ReplySlot;
use tachyon::payload::DeclaredError;
use tachyon::{CallError, Caller, ErrorKind, HandlerError, RpcError, tachyon_rpc};

/// The kinds that a handler reports in either language.
pub fn kinds_of_handlers() -> impl Iterator<Item = ErrorKind> {
    ErrorKind::all().filter(|kind| kind.is_answer())
}

/// The error of this kind, or the value for kind 0.
fn refused(kind: u16, text: &str) -> Result<u32, HandlerError> {
    match ErrorKind::all().find(|known| *known as u16 == kind) {
        Some(ErrorKind::Unspecified) | None => Ok(7),
        Some(kind) => Err(HandlerError::new(kind, text)),
    }
}

/// Answers with a kind.
#[tachyon_rpc(msg_type = 1)]
pub fn refuse(kind: u16, text: &str) -> Result<u32, HandlerError> {
    refused(kind, text)
}

/// Answers with a kind, or with an option.
#[tachyon_rpc(msg_type = 2)]
pub fn refuse_maybe(kind: u16, text: &str) -> Result<Option<u32>, HandlerError> {
    refused(kind, text).map(Some)
}

/// Answers with a kind, or through a slot.
#[tachyon_rpc(msg_type = 3)]
pub fn refuse_in_slot(kind: u16, text: &str, reply: ReplySlot<'_, [u32]>) -> Result<(), HandlerError> {
    let value = refused(kind, text)?;
    reply.write(&[value]).map_err(HandlerError::failed)
}

/// The errors of `find`.
#[tachyon::error]
#[derive(PartialEq)]
pub enum FindError {
    /// There is none of this number.
    #[error("no sensor {sensor}", kind = NotFound)]
    NoSensor {
        /// The number.
        sensor: u32,
    },
    /// Try later.
    #[error("busy", kind = Unavailable)]
    Busy,
    /// A fault.
    #[error("broken")]
    Broken,
}

/// Answers with a declared error.
#[tachyon_rpc(msg_type = 4)]
pub fn find(sensor: u32) -> Result<f64, FindError> {
    match sensor {
        0 => Ok(1.5),
        1 => Err(FindError::Busy),
        2 => Err(FindError::Broken),
        sensor => Err(FindError::NoSensor { sensor }),
    }
}

/// Takes bytes.
#[tachyon_rpc(msg_type = 5)]
pub fn refuse_raw(payload: &[u8]) -> Result<Vec<u8>, HandlerError> {
    refused(payload.first().copied().unwrap_or_default().into(), "raw")?;
    Ok(payload.to_vec())
}

/// An error of a library, which becomes a kind in one place.
#[derive(Debug)]
pub enum StoreError {
    /// No such key.
    Missing(String),
    /// No room.
    Full,
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<StoreError> for HandlerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(key) => Self::new(ErrorKind::NotFound, format!("no key {key}")),
            StoreError::Full => Self::new(ErrorKind::ResourceExhausted, "the store is full"),
        }
    }
}

/// Answers with the kind of a library's error.
#[tachyon_rpc(msg_type = 6)]
pub fn store(key: &str) -> Result<u32, StoreError> {
    if key.is_empty() { Err(StoreError::Full) } else { Err(StoreError::Missing(key.to_owned())) }
}

/// A service of one method.
#[tachyon_rpc]
pub trait Refuses {
    /// Answers with a kind.
    #[rpc(msg_type = 7)]
    fn refuse_method(&self, kind: u16, text: &str) -> Result<u32, HandlerError>;
}

/// Refuses by the number of the kind.
#[derive(Debug)]
pub struct Refuser;

impl Refuses for Refuser {
    fn refuse_method(&self, kind: u16, text: &str) -> Result<u32, HandlerError> {
        refused(kind, text)
    }
}

/// The error of a call that the callee answered with one.
pub fn remote<T: Debug, E: DeclaredError>(outcome: Result<T, CallError<E>>) -> RpcError {
    match outcome {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Makes calls that end in every kind. Texts arrive unless the callee hides them.
pub fn call_every_kind(caller: &mut Caller, hidden: bool) {
    let text = |text: &str| if hidden { String::new() } else { text.to_owned() };
    for kind in kinds_of_handlers() {
        let number = kind as u16;
        let error = remote(refuse::call(caller, number, "why"));
        assert_eq!((error.kind, error.text.as_str(), error.name.as_str()), (kind, &*text("why"), ""));
        let outcome = refuse::call(caller, number, "");
        assert_eq!(outcome.as_ref().unwrap_err().sent(), kind.has_begun(), "{outcome:?}");
        assert_eq!(remote(refuse_maybe::call(caller, number, "maybe")).kind, kind);
        assert_eq!(remote(refuse_in_slot::call(caller, number, "slot")).kind, kind);
        assert_eq!(remote(refuse::call_in_place(caller, number, "in place").map(|_| ())).kind, kind);
        let started = refuse::start(caller, number, "later").unwrap();
        assert_eq!(remote(started.finish(caller)).text, text("later"));
        let raw = remote(refuse_raw::call(caller, &[u8::try_from(number).unwrap()]));
        assert_eq!((raw.kind, raw.text.as_str()), (kind, ""), "raw endpoints send no text");
        assert_eq!(refuse::call(caller, 0, "").unwrap(), 7);
    }
    assert_eq!(refuse_maybe::call(caller, 0, "").unwrap(), Some(7));
    assert_eq!(refuse_in_slot::call(caller, 0, "").unwrap(), [7]);
    assert_eq!(refuse_raw::call(caller, &[0, 5]).unwrap(), [0, 5]);
    for (key, kind, said) in
        [("", ErrorKind::ResourceExhausted, "the store is full"), ("a", ErrorKind::NotFound, "no key a")]
    {
        let error = remote(store::call(caller, key));
        assert_eq!((error.kind, error.text), (kind, text(said)));
    }
    assert_eq!(find::call(caller, 0).unwrap(), 1.5);
    for (sensor, kind, name, said) in [
        (1u32, ErrorKind::Unavailable, "Busy", "busy"),
        (2, ErrorKind::HandlerFailed, "Broken", "broken"),
        (3, ErrorKind::NotFound, "NoSensor", "no sensor 3"),
    ] {
        // Without the contract, the kind of the error reply shows.
        let error = remote(caller.call(4, &sensor.to_le_bytes()).map(drop));
        assert_eq!((error.kind, error.name.as_str(), error.text), (kind, name, text(said)));
        let error = find::call(caller, sensor).unwrap_err();
        assert!(matches!(error, CallError::Failed(_)), "{error:?}");
        assert_eq!(error.kind(), Some(kind));
    }
    assert!(matches!(find::call(caller, 9), Err(CallError::Failed(FindError::NoSensor { sensor: 9 }))));
    // The pair of sides that share a path is usable to the end.
    assert_eq!(refuse::call(&mut caller.within(core::time::Duration::from_mins(1)), 0, "").unwrap(), 7);
}
