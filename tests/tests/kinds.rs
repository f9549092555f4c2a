//! Kinds of a handler's errors between two processes, from every form of a handler.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use tachyon::{CallError, Caller, ErrorKind};
use tachyon_tests::kinds::{RefusesClient, call_every_kind, kinds_of_handlers, refuse, remote};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const KINDS: Program = Program(env!("CARGO_BIN_EXE_kinds"));

#[test]
fn every_kind_arrives_from_a_callee() {
    for hidden in [false, true] {
        let (_folder, path) = socket();
        let callee = KINDS.start("callee", &path, &[&hidden.to_string()]);
        let mut caller = Caller::connect(&path).unwrap();
        call_every_kind(&mut caller, hidden);
        drop(caller);
        // Only the error without a kind is the handler's fault, and a declared error is never.
        assert_eq!(callee.finish(), "");
    }
}

#[test]
fn every_kind_arrives_from_a_server() {
    let (_folder, path) = socket();
    let _server = KINDS.start("server", &path, &["false"]);
    call_every_kind(&mut Caller::connect(&path).unwrap(), false);
}

#[test]
fn every_kind_arrives_from_tokio() {
    let (_folder, path) = socket();
    let _server = KINDS.start("tokio", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    call_every_kind(&mut caller, false);
    for kind in kinds_of_handlers() {
        let error = remote(caller.call(8, &[u8::try_from(kind as u16).unwrap()]).map(drop));
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn every_kind_arrives_from_a_service() {
    let (_folder, path) = socket();
    let callee = KINDS.start("service", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut client = RefusesClient::new(&mut caller);
    for kind in kinds_of_handlers() {
        let error = remote(client.refuse_method(kind as u16, "why"));
        assert_eq!((error.kind, error.text.as_str()), (kind, "why"));
    }
    drop(caller);
    callee.finish();
}

/// A handler that has begun cannot say that it has not: a caller would make the call again.
#[test]
fn kinds_of_the_server_mean_that_the_handler_has_begun() {
    let (_folder, path) = socket();
    let callee = KINDS.start("callee", &path, &["false"]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut answer = |kind: ErrorKind| refuse::call(&mut caller, kind as u16, "relayed");
    let stopping = answer(ErrorKind::Stopping);
    assert!(stopping.as_ref().unwrap_err().sent());
    assert_eq!(remote(stopping).kind, ErrorKind::Unavailable);
    assert!(matches!(answer(ErrorKind::DeadlinePassed), Err(CallError::TimedOut { sent: true })));
    for kind in [ErrorKind::HandlerFailed, ErrorKind::Cancelled] {
        let outcome = answer(kind);
        assert!(outcome.as_ref().unwrap_err().sent());
        assert_eq!(remote(outcome).kind, kind);
    }
    // A promise of the handler, like `BadRequest`: the call had no effect.
    let outcome = answer(ErrorKind::NoHandler);
    assert!(!outcome.as_ref().unwrap_err().sent());
    assert_eq!(remote(outcome).kind, ErrorKind::NoHandler);
    drop(caller);
    let reported = callee.finish();
    assert_eq!(reported.lines().count(), 4, "{reported}");
}
