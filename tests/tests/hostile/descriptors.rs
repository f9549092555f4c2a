//! Descriptors whose closing takes long, passed at every moment.

use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tachyon::{CallError, Caller};
use tachyon_tests::hostile::{
    Lingering, READY, RPC, SINK, SOURCE, Segment, accept, hear, hello, listener, pass, reach, say, welcome,
};
use tachyon_tests::system::System;
use tachyon_tests::{side_by_side, skip};

use super::place::{AT_ONCE, FORMS, Place, calling_meanwhile, told, wait_for};

/// What is said of a hostile peer's descriptor.
fn word(system: System) -> &'static str {
    if system.refuses_descriptors() { "refused" } else { "passed" }
}

fn serves_on(form: &str) {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, form);
        wait_for(&place.path);
        let scenes: [&[&str]; 4] =
            [&["linger"], &["call", "linger"], &["call", "idle", "linger"], &["post:50", "linger"]];
        for acts in scenes {
            calling_meanwhile(&place.path, || {
                let mut hostile = place.hostile("caller", acts);
                assert_eq!(hostile.line(), word(system), "{system:?} {acts:?}");
                assert_eq!(hostile.line(), "done");
                // It stays for some of the calls that follow.
                std::thread::sleep(Duration::from_millis(100));
            });
        }
        let events = place.stop(server);
        let misbehaved = events.iter().filter(|event| *event == "Misbehaved").count();
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

/// Has victims meet a hostile peer that plays these acts.
fn times_out(hostile: &str, victims: &[(&str, &str)], scenes: &[&[&str]]) {
    let all = System::ALL.into_iter().flat_map(|system| victims.iter().map(move |victim| (system, *victim)));
    let all = all.flat_map(|(system, victim)| scenes.iter().map(move |acts| (system, victim, *acts)));
    side_by_side(all.collect(), |(system, (role, mode), acts)| {
        let place = Place::new();
        let mut peer = place.hostile(hostile, acts);
        let lines = told(place.victim(system, role, mode));
        let last = if role == "async_caller" { "end fine" } else { "close fine" };
        assert_eq!(lines.first().map(String::as_str), Some("connected"));
        assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
        assert_eq!(peer.line(), "connected");
        assert_eq!(peer.line(), word(system), "{system:?} {role} {mode} {acts:?}");
        // A side that spins never looks at the socket, so it does not find the descriptor.
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

/// Passes a lingering descriptor to a listener at each step of a handshake. What is given back keeps them lingering.
fn foul_handshakes(path: &Path, system: System) -> Vec<(OwnedFd, Option<TcpStream>)> {
    let hello = hello(RPC, SOURCE);
    let mut all = Vec::new();
    for step in ["garbage", "hello", "ready"] {
        let client = reach(path).unwrap();
        let message = match step {
            "garbage" => b"garbage".as_slice(),
            "hello" => &hello,
            _ => {
                say(&client, &hello).unwrap();
                assert_eq!(hear(&client).unwrap().0.get(6), Some(&2), "a welcome");
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
        wait_for(&place.path);
        calling_meanwhile(&place.path, || {
            let lingering = foul_handshakes(&place.path, system);
            std::thread::sleep(Duration::from_millis(100));
            drop(lingering);
        });
        let events = place.stop(server);
        let rejected = events.iter().filter(|event| event.starts_with("a client was rejected")).count();
        assert_eq!(rejected, 3, "{system:?}: {events:?}");
    }
}

/// More such clients than may wait to be closed: those that are connected go on.
#[test]
fn a_server_outlives_a_crowd_with_descriptors() {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, "1");
        let mut steady = Caller::connect(&place.path).unwrap();
        let mut crowd = Vec::new();
        for number in 0..100 {
            let client = reach(&place.path).unwrap();
            let passed = Lingering::new().unwrap().pass(&client, b"garbage");
            crowd.push((client, passed.ok()));
            if number % 5 == 0 {
                let began = Instant::now();
                assert_eq!(*steady.call_timeout(1, b"steady", AT_ONCE).unwrap(), *b"steady");
                assert!(began.elapsed() < AT_ONCE);
            }
        }
        // Nothing lingers any more, so that others are let in again.
        drop(crowd);
        place.stop(server);
    }
}

#[test]
fn a_listener_for_one_outlives_handshakes_with_descriptors() {
    for system in System::ALL {
        let place = Place::new();
        let callee = place.run(system, env!("CARGO_BIN_EXE_peer"), &["callee", "4096", "4096", "adaptive", "text"]);
        let lingering = foul_handshakes(&place.path, system);
        let began = Instant::now();
        let mut caller = Caller::connect(&place.path).unwrap();
        assert_eq!(*caller.call_timeout(1, b"honest", AT_ONCE).unwrap(), *b"honest");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        drop(caller);
        assert_eq!(callee.finish(), "closed");
        drop(lingering);
    }
}

/// A listener that passes lingering descriptors on its side of the handshake.
fn greet(listening: &OwnedFd, how: &str) -> (OwnedFd, Vec<TcpStream>) {
    let client = accept(listening).unwrap();
    let mut kept = Vec::new();
    if how == "at once" {
        kept.extend(Lingering::new().unwrap().pass(&client, b"garbage"));
    }
    hear(&client).unwrap();
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
            // The client may have read the welcome by now, or have refused more.
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
            let lingering = greet(&listening, how);
            let lines = told(victim);
            let outcome = lines.first().map(String::as_str);
            match how {
                "behind" => assert!(matches!(outcome, Some("connect Protocol" | "connect fine")), "{lines:?}"),
                // Before the hello the system refuses it, and the handshake goes on; it never enters in any case.
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
            assert_eq!(told(place.victim(system, role, "adaptive")), [outcome], "{system:?}");
            // A connector that trusts other users lets descriptors in until it has the welcome.
            let heard = foreign.line();
            let expected = [word(system), "too late", if role == "connect_any" { "passed" } else { "too late" }];
            assert!(expected.contains(&&*heard), "{system:?} {role}: {heard}");
        }
    }
}

/// An honest pair, where each message of the socket is looked at first.
#[test]
fn calls_go_well_where_messages_are_looked_at_first() {
    for form in FORMS {
        let place = Place::new();
        let server = place.serve(System::Before616, form);
        let callers: Vec<_> = (0..3)
            .map(|_| place.run(System::Before616, env!("CARGO_BIN_EXE_peer"), &["caller", "2000", "1000"]))
            .collect();
        for caller in callers {
            assert_eq!(caller.finish(), "2000", "{form}");
        }
        let mut caller = Caller::connect(&place.path).unwrap();
        // Each of them wakes a callee that sleeps, and each reply its caller.
        for number in 0..50_u64 {
            std::thread::sleep(Duration::from_millis(1));
            let reply: Result<_, CallError> = caller.call_timeout(1, &number.to_le_bytes(), AT_ONCE);
            assert_eq!(*reply.unwrap(), number.to_le_bytes());
        }
        drop(caller);
        let events = place.stop(server);
        assert_eq!(events.iter().filter(|event| *event == "Closed").count(), 5, "{events:?}");
    }
}
