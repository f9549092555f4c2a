//! Every form of argument, reply and error, between two processes.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]
#![allow(clippy::needless_borrows_for_generic_args, reason = "every form")]

use std::path::Path;
use std::time::Duration;

use tachyon::{CallError, Caller, Options, Pool, PoolOptions};
use tachyon_tests::contract::calls::{
    PATIENCE, call_every_form, call_every_reply, call_every_taker, call_service, call_several_arguments,
    call_with_tensors, exceed_rings, fail_as_declared, fail_in_words, fail_without_texts, finish_in_any_order,
};
use tachyon_tests::contract::{Plain, add_slowly, char_code, reached, split};
use tachyon_tests::packed::{call_packed, stream_packed};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;

fn start(role: &str, path: &Path, argument: &str) -> Peer {
    Program(env!("CARGO_BIN_EXE_contract")).start(role, path, &[argument])
}

#[test]
fn every_form_goes_there_and_back() {
    // Rings that hold many messages, and rings that hold few.
    for size in ["1048576", "65536"] {
        let (_folder, path) = socket();
        let callee = start("one", &path, size);
        let mut caller = Caller::connect(&path).unwrap();
        call_every_form(&mut caller);
        call_every_form(&mut caller.within(PATIENCE));
        assert_eq!(caller.outstanding(), 0);
        drop(caller);
        assert_eq!(callee.finish(), "");
    }
}

#[test]
fn every_form_goes_through_workers_and_a_pool() {
    let (_folder, path) = socket();
    let _server = start("one_server", &path, "3");
    let pool = Pool::new(&path, &Options::new().timeout(PATIENCE), &PoolOptions::new().max(3));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut caller = pool.get().unwrap();
                call_every_form(&mut caller);
                call_every_form(&mut caller.within(PATIENCE));
            });
        }
    });
}

#[test]
fn several_arguments_travel_with_state_context_and_a_slot() {
    let (_folder, path) = socket();
    let callee = start("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    call_several_arguments(&mut caller);
    call_several_arguments(&mut caller.within(PATIENCE));
    call_every_reply(&mut caller);
    call_every_taker(&mut caller);
    assert_eq!(reached::call(&mut caller).unwrap(), 35);
    drop(caller);
    assert_eq!(callee.finish(), "");

    let _server = start("many_server", &path, "2");
    let pool = Pool::new(&path, &Options::new().timeout(PATIENCE), &PoolOptions::new().max(2));
    let (mut first, mut second) = (pool.get().unwrap(), pool.get().unwrap());
    call_several_arguments(&mut first);
    call_several_arguments(&mut second.within(PATIENCE));
    call_every_reply(&mut second);
    call_every_taker(&mut second);
    assert_eq!(reached::call(&mut first).unwrap(), 35);
}

#[test]
fn tensors_travel_with_other_arguments_and_in_a_slot() {
    let (_folder, path) = socket();
    let callee = start("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    call_with_tensors(&mut caller);
    call_with_tensors(&mut caller.within(PATIENCE));
    assert_eq!(reached::call(&mut caller).unwrap(), 8);
    drop(caller);
    assert_eq!(callee.finish(), "");

    // A server puts replies that do not fit the ring at once on the heap.
    let _server = start("many_server", &path, "2");
    let pool = Pool::new(&path, &Options::new().timeout(PATIENCE), &PoolOptions::new().max(2));
    call_with_tensors(&mut pool.get().unwrap());
}

#[test]
fn a_service_of_the_codec_msgpack() {
    let (_folder, path) = socket();
    let callee = Program(env!("CARGO_BIN_EXE_contract")).start("packed", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    call_packed(&mut caller, "");
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn streams_of_the_codec_msgpack() {
    let (_folder, path) = socket();
    let callee = Program(env!("CARGO_BIN_EXE_contract")).start("packed_streams", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    stream_packed(&mut caller);
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn a_service_takes_several_arguments() {
    let (_folder, path) = socket();
    let callee = start("sensor", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    call_service(&mut caller);
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn calls_are_finished_in_any_order() {
    let (_folder, path) = socket();
    let _server = start("many_server", &path, "1");
    let mut caller = Caller::connect(&path).unwrap();
    finish_in_any_order(&mut caller);
}

#[test]
fn a_deadline_that_passes_leaves_the_connection_usable() {
    let (_folder, path) = socket();
    let _server = start("many_server", &path, "1");
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(add_slowly::call(&mut caller.within(PATIENCE), 1, 2, 0).unwrap(), 3);
    let late = add_slowly::call(&mut caller.within(Duration::from_millis(20)), 1, 2, 500);
    assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
    let late = add_slowly::start(&mut caller.within(Duration::from_millis(20)), 1, 2, 0).unwrap().finish(&mut caller);
    // The first call is still in flight.
    assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
    assert_eq!(add_slowly::call(&mut caller, 1, 2, 0).unwrap(), 3);
    assert_eq!(caller.outstanding(), 0);
}

#[test]
fn messages_larger_than_a_ring_are_refused_both_ways() {
    let (_folder, path) = socket();
    let callee = start("many", &path, "4096");
    let mut caller = Caller::connect(&path).unwrap();
    exceed_rings(&mut caller);
    drop(caller);
    callee.finish();
}

#[test]
fn callers_that_connect_again_call_every_form() {
    let (_folder, path) = socket();
    let mut server = start("many_server", &path, "2");
    let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true).timeout(PATIENCE)).unwrap();
    for _ in 0..3 {
        loop {
            match split::call(&mut caller, "a,b", char_code::Code { number: b',' }) {
                // The caller had sent the request before it noticed the death.
                Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
                outcome => break assert_eq!(outcome.unwrap(), ["a", "b"]),
            }
        }
        call_several_arguments(&mut caller);
        server.kill();
        server = start("many_server", &path, "2");
    }
}

#[test]
fn declared_errors_arrive_typed_and_are_no_failures() {
    let (_folder, path) = socket();
    let callee = start("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    fail_as_declared(&mut caller);
    drop(caller);
    assert_eq!(callee.finish(), "", "no failure is reported");
}

#[test]
fn texts_of_errors_arrive_and_are_reported() {
    let (_folder, path) = socket();
    let mut callee = start("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    fail_in_words(&mut caller, "", "panicked: ");
    assert_eq!(callee.line(), "failure: endpoint `fails_in_words` (msg_type 111) failed: wordword");
    assert!(callee.line().ends_with(&"\u{e9}".repeat(2000)), "the callee's own report is whole");
    assert_eq!(callee.line(), "failure: endpoint `fails_raw` (msg_type 112) failed: raw");
    assert!(callee.line().contains("invalid digit"));
    assert_eq!(callee.line(), "failure: endpoint `fails` (msg_type 110) failed: panicked: thrown");
    drop(caller);
    callee.finish();
}

#[test]
fn hidden_texts_leave_names_and_fields() {
    let (_folder, path) = socket();
    let callee = start("hidden", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    fail_without_texts(&mut caller);
    assert_eq!(Plain("text".to_owned()).to_string(), "text");
    drop(caller);
    callee.finish();
}
