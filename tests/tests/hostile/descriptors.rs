//! Descriptors whose close takes long, passed in every phase of a connection.

use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tachyon::{CallError, Caller};
use tachyon_tests::lingering::Lingering;
use tachyon_tests::process::Program;
use tachyon_tests::sandbox::System;
use tachyon_tests::server::count;
use tachyon_tests::test_run::{in_parallel, skip};
use tachyon_tests::wire::{
    READY, RPC, SINK, SOURCE, Segment, accept, connect_raw, hello, listener, pass, receive, send, welcome,
};

use super::place::{AT_ONCE, FORMS, Place, call_during, output};

/// The line that a hostile peer prints after it has tried to pass a descriptor.
fn refused_or_passed(system: System) -> &'static str {
    if system.refuses_descriptors() { "refused" } else { "passed" }
}

fn serves_on(form: &str) {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, form);
        place.wait_for_listener();
        let scenes: [&[&str]; 4] =
            [&["linger"], &["call", "linger"], &["call", "idle", "linger"], &["post:50", "linger"]];
        for acts in scenes {
            call_during(&place.path, || {
                let mut hostile = place.hostile("caller", acts);
                assert_eq!(hostile.line(), refused_or_passed(system), "{system:?} {acts:?}");
                assert_eq!(hostile.line(), "done");
                // The peer stays connected during some of the calls.
                std::thread::sleep(Duration::from_millis(100));
            });
        }
        let events = place.stop(server);
        let misbehaved = count(&events, "Misbehaved");
        let expected = if system.refuses_descriptors() { 0 } else { scenes.len() };
        assert_eq!(misbehaved, expected, "{system:?}: {events:?}");
    }
}

#[test]
fn a_server_serves_its_other_callers() {
    serves_on("1");
}

#[test]
fn workers_serve_their_other_callers() {
    serves_on("3");
}

#[test]
fn a_server_on_tokio_serves_its_other_callers() {
    serves_on("tokio");
}

/// Connects each victim to a hostile peer that performs each list of acts. The victim's operations must time out in
/// time.
fn times_out(hostile: &str, victims: &[(&str, &str)], scenes: &[&[&str]]) {
    let all = System::ALL.into_iter().flat_map(|system| victims.iter().map(move |victim| (system, *victim)));
    let all = all.flat_map(|(system, victim)| scenes.iter().map(move |acts| (system, victim, *acts)));
    in_parallel(all.collect(), |(system, (role, mode), acts)| {
        let place = Place::new();
        let mut peer = place.hostile(hostile, acts);
        let lines = output(place.victim(system, role, mode));
        let last = if role == "async_caller" { "end fine" } else { "close fine" };
        assert_eq!(lines.first().map(String::as_str), Some("connected"));
        assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
        assert_eq!(peer.line(), "connected");
        assert_eq!(peer.line(), refused_or_passed(system), "{system:?} {role} {mode} {acts:?}");
        // A side that spins never reads the socket, so it does not find the descriptor.
        let finds = mode != "pure" && !system.refuses_descriptors();
        let found = lines.iter().any(|line| line.ends_with("FatalError"));
        assert_eq!(found, finds, "{system:?} {role} {mode} {acts:?}: {lines:?}");
    });
}

#[test]
fn callers_time_out_in_time() {
    let scenes: [&[&str]; 3] = [&["linger"], &["take", "linger"], &["serve", "linger"]];
    times_out("callee", &[("caller", "park"), ("caller", "adaptive"), ("caller", "pure")], &scenes);
}

#[test]
fn callers_of_other_kinds_time_out_in_time() {
    times_out("callee", &[("async_caller", "adaptive"), ("pool", "adaptive")], &[&["linger"], &["take", "linger"]]);
}

#[test]
fn receivers_time_out_in_time() {
    times_out("sender", &[("receiver", "park"), ("receiver", "pure")], &[&["linger"], &["idle", "linger"]]);
}

#[test]
fn senders_time_out_in_time() {
    times_out("receiver", &[("sender", "park"), ("sender", "adaptive")], &[&["linger"], &["idle", "linger"]]);
}

/// Passes a lingering descriptor to a listener at each step of a handshake. The descriptors linger while the result
/// lives.
fn pass_in_handshakes(path: &Path, system: System) -> Vec<(OwnedFd, Option<TcpStream>)> {
    let hello = hello(RPC, SOURCE);
    let mut all = Vec::new();
    for step in ["garbage", "hello", "ready"] {
        let client = connect_raw(path).unwrap();
        let message = match step {
            "garbage" => b"garbage".as_slice(),
            "hello" => &hello,
            _ => {
                send(&client, &hello).unwrap();
                assert_eq!(receive(&client).unwrap().0.get(6), Some(&2), "a welcome");
                &READY
            }
        };
        let passed = Lingering::new().unwrap().pass(&client, message);
        assert_eq!(passed.is_err(), system.refuses_descriptors(), "{step}: {passed:?}");
        assert!(passed.is_ok() || passed.as_ref().is_err_and(|errno| *errno == Errno::PERM), "{step}: {passed:?}");
        all.push((client, passed.ok()));
    }
    all
}

#[test]
fn a_server_outlives_handshakes_with_descriptors() {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, "1");
        place.wait_for_listener();
        call_during(&place.path, || {
            let lingering = pass_in_handshakes(&place.path, system);
            std::thread::sleep(Duration::from_millis(100));
            drop(lingering);
        });
        let events = place.stop(server);
        let rejected = events.iter().filter(|event| event.starts_with("a client was rejected")).count();
        assert_eq!(rejected, 3, "{system:?}: {events:?}");
    }
}

/// More such clients than the server closes at a time: connected callers go on.
#[test]
fn a_server_outlives_many_clients_with_descriptors() {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, "1");
        let mut steady = Caller::connect(&place.path).unwrap();
        let mut crowd = Vec::new();
        for number in 0..100 {
            let client = connect_raw(&place.path).unwrap();
            let passed = Lingering::new().unwrap().pass(&client, b"garbage");
            crowd.push((client, passed.ok()));
            if number % 5 == 0 {
                let began = Instant::now();
                assert_eq!(*steady.call_timeout(1, b"steady", AT_ONCE).unwrap(), *b"steady");
                assert!(began.elapsed() < AT_ONCE);
            }
        }
        // The descriptors no longer linger, so the server accepts callers again.
        drop(crowd);
        place.stop(server);
    }
}

#[test]
fn a_listener_for_one_outlives_handshakes_with_descriptors() {
    for system in System::ALL {
        let place = Place::new();
        let callee =
            place.run(system, Program(env!("CARGO_BIN_EXE_peer")), &["callee", "4096", "4096", "adaptive", "text"]);
        let lingering = pass_in_handshakes(&place.path, system);
        let began = Instant::now();
        let mut caller = Caller::connect(&place.path).unwrap();
        assert_eq!(*caller.call_timeout(1, b"honest", AT_ONCE).unwrap(), *b"honest");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        drop(caller);
        assert_eq!(callee.finish(), "closed");
        drop(lingering);
    }
}

/// Accepts a client, and passes lingering descriptors with this side of the handshake.
fn accept_and_pass(listening: &OwnedFd, how: &str) -> (OwnedFd, Vec<TcpStream>) {
    let client = accept(listening).unwrap();
    let mut kept = Vec::new();
    if how == "at once" {
        kept.extend(Lingering::new().unwrap().pass(&client, b"garbage"));
    }
    receive(&client).unwrap();
    let segments = [(); 2].map(|()| Segment::create(RPC, 4096).unwrap());
    let memory = segments.each_ref().map(|segment| segment.memory.as_fd());
    let welcome = welcome(RPC, SINK, 4096);
    let lingering = Lingering::new().unwrap();
    match how {
        "beside" => kept.extend(lingering.pass_with(&client, &welcome, &memory)),
        "instead of one" => kept.extend(lingering.pass_with(&client, &welcome, &memory[..1])),
        "instead of both" => kept.extend(lingering.pass(&client, &welcome)),
        "with a refusal" => {
            let mut reject = welcome[..8].to_vec();
            reject[6] = 3;
            reject.resize(136, 0);
            kept.extend(lingering.pass(&client, &reject));
        }
        _ => {
            // Fails if the client has closed or the kernel refuses.
            let _ = pass(&client, &welcome, &memory);
            kept.extend(lingering.pass(&client, b"more"));
            kept.extend(Lingering::new().unwrap().pass(&client, &[0; 8]));
        }
    }
    (client, kept)
}

#[test]
fn connecting_outlives_a_listener_with_descriptors() {
    for system in System::ALL {
        for how in ["beside", "instead of one", "instead of both", "with a refusal", "behind", "at once"] {
            let place = Place::new();
            let listening = listener(&place.path).unwrap();
            let victim = place.victim(system, "connect", "adaptive");
            let lingering = accept_and_pass(&listening, how);
            let lines = output(victim);
            let outcome = lines.first().map(String::as_str);
            match how {
                "behind" => assert!(matches!(outcome, Some("connect Protocol" | "connect fine")), "{lines:?}"),
                // Before the hello the kernel refuses the descriptor, and the handshake goes on.
                "at once" if system.refuses_descriptors() => {
                    assert!(matches!(outcome, Some("connect Protocol" | "connect fine")), "{lines:?}");
                }
                _ => assert_eq!(outcome, Some("connect Protocol"), "{system:?} {how}: {lines:?}"),
            }
            drop(lingering);
        }
    }
}

#[test]
fn connecting_outlives_the_listener_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can listen as another user");
        return;
    }
    for system in System::ALL {
        for (role, outcome) in [("connect", "connect ForeignListener"), ("connect_any", "connect Protocol")] {
            let place = Place::new();
            std::fs::set_permissions(place.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
            let mut foreign = place.hostile("foreign", &[]);
            assert_eq!(output(place.victim(system, role, "adaptive")), [outcome], "{system:?}");
            // A connector that trusts other users accepts descriptors until it has the welcome.
            let heard = foreign.line();
            let expected =
                [refused_or_passed(system), "too late", if role == "connect_any" { "passed" } else { "too late" }];
            assert!(expected.contains(&&*heard), "{system:?} {role}: {heard}");
        }
    }
}

/// An honest pair, on a system where each message of the socket is peeked first.
#[test]
fn calls_work_where_each_message_is_peeked_first() {
    for form in FORMS {
        let place = Place::new();
        let server = place.serve(System::Before616, form);
        let callers: Vec<_> = (0..3)
            .map(|_| place.run(System::Before616, Program(env!("CARGO_BIN_EXE_peer")), &["caller", "2000", "1000"]))
            .collect();
        for caller in callers {
            assert_eq!(caller.finish(), "2000", "{form}");
        }
        let mut caller = Caller::connect(&place.path).unwrap();
        // Each request wakes a parked callee, and each reply wakes its parked caller.
        for number in 0..50_u64 {
            std::thread::sleep(Duration::from_millis(1));
            let reply: Result<_, CallError> = caller.call_timeout(1, &number.to_le_bytes(), AT_ONCE);
            assert_eq!(*reply.unwrap(), number.to_le_bytes());
        }
        drop(caller);
        let events = place.stop(server);
        assert_eq!(count(&events, "Closed"), 5, "{events:?}");
    }
}
