//! Floods, garbage, sockets that the peer does not read, and peers that stay in a system call.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tachyon_tests::process::Program;
use tachyon_tests::sandbox::System;
use tachyon_tests::server::count;
use tachyon_tests::test_run::{in_parallel, skip};
use tachyon_tests::userfault::MissingPage;
use tachyon_tests::wait;
use tachyon_tests::wire::{Connection, RPC, SINK, SOURCE, listener};

use super::place::{AT_ONCE, FORMS, Place, call_during, output};

/// How the connection ends for a side that reads its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection does not end.
    None,
    /// The peer hung up: an empty message.
    Gone,
    /// The peer broke the protocol.
    Fault,
}

/// The acts of a hostile peer, and the end of the connection after each.
const ACTS: [(&str, End); 14] = [
    ("say:0", End::Gone),
    ("say:4", End::Fault),
    ("say:7", End::Fault),
    ("say:8", End::None),
    ("say:9", End::Fault),
    ("say:100", End::Fault),
    ("fill:0", End::Gone),
    ("fill:8", End::None),
    ("fill:9", End::Fault),
    ("flood:7", End::Fault),
    ("flood:8", End::None),
    ("receive", End::None),
    ("peek", End::None),
    ("stuck", End::None),
];

/// Whether this system can keep a process in a system call.
fn can_be_stuck() -> bool {
    let outcome = MissingPage::new();
    if let Err(error) = &outcome {
        skip(&format!("this process may not handle the page faults of system calls: {error}"));
    }
    outcome.is_ok()
}

fn acts() -> impl Iterator<Item = (System, &'static str, End)> {
    let stuck = can_be_stuck();
    let both = System::ALL.into_iter().flat_map(|system| ACTS.map(|(act, end)| (system, act, end)));
    both.filter(move |(_, act, _)| stuck || *act != "stuck")
}

fn serves_on(form: &str) {
    for system in System::ALL {
        let place = Place::new();
        let server = place.serve(system, form);
        place.wait_for_listener();
        let mut expected = [0, 0];
        for (_, act, end) in acts().filter(|(which, ..)| *which == system) {
            call_during(&place.path, || {
                let mut hostile = place.hostile("caller", &["call", act]);
                if act == "stuck" {
                    assert_eq!(hostile.line(), "stuck");
                }
                assert_eq!(hostile.line(), "done", "{act}");
                // The peer stays connected during some of the calls.
                std::thread::sleep(Duration::from_millis(50));
            });
            expected[usize::from(end == End::Fault)] += 1;
        }
        let events = place.stop(server);
        assert_eq!(["Died", "Misbehaved"].map(|event| count(&events, event)), expected, "{system:?}: {events:?}");
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

/// Connects each victim to a hostile peer that performs `before`, if any, and then each act. The victim's operations
/// must time out in time.
fn times_out(hostile: &str, before: Option<&str>, victims: &[(&str, &str)]) {
    let all = victims.iter().flat_map(|victim| acts().map(move |act| (*victim, act)));
    in_parallel(all.collect(), |((role, mode), (system, act, end))| {
        let place = Place::new();
        let acts: Vec<&str> = before.into_iter().chain([act]).collect();
        let peer = place.hostile(hostile, &acts);
        let lines = output(place.victim(system, role, mode));
        let last = if role == "async_caller" { "end fine" } else { "close fine" };
        assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
        let ended = |how| lines.iter().any(|line| line.ends_with(how));
        let found = match (ended("FatalError"), ended("PeerDead")) {
            (true, _) => End::Fault,
            (_, true) => End::Gone,
            _ => End::None,
        };
        // A side that spins never reads the socket.
        let expected = if mode == "pure" { End::None } else { end };
        assert_eq!(found, expected, "{system:?} {role} {mode} {act}: {lines:?}");
        drop(peer);
    });
}

#[test]
fn callers_time_out_in_time() {
    times_out("callee", Some("take"), &[("caller", "adaptive")]);
}

#[test]
fn callers_that_park_time_out_in_time() {
    times_out("callee", None, &[("caller", "park")]);
}

#[test]
fn callers_that_spin_time_out_in_time() {
    times_out("callee", None, &[("caller", "pure")]);
}

#[test]
fn async_callers_time_out_in_time() {
    times_out("callee", None, &[("async_caller", "adaptive")]);
}

#[test]
fn receivers_time_out_in_time() {
    times_out("sender", None, &[("receiver", "adaptive")]);
}

#[test]
fn senders_time_out_in_time() {
    times_out("receiver", None, &[("sender", "adaptive")]);
}

/// After every act, a callee that serves one caller notices the caller's end.
#[test]
fn callees_end_with_their_caller() {
    in_parallel(acts().collect(), |(system, act, end)| {
        let place = Place::new();
        let mut callee =
            place.run(system, Program(env!("CARGO_BIN_EXE_peer")), &["callee", "4096", "4096", "adaptive", "text"]);
        let mut hostile = place.hostile("caller", &["call", "idle", act]);
        if act == "stuck" {
            assert_eq!(hostile.line(), "stuck");
        }
        assert_eq!(hostile.line(), "done", "{act}");
        let began = Instant::now();
        // An act that ends nothing is followed by the peer's death.
        let mut hostile = Some(hostile);
        if end == End::None {
            drop(hostile.take());
        }
        let expected = if end == End::Fault { "fatal error" } else { "peer dead" };
        assert_eq!(callee.line(), expected, "{system:?} {act}");
        callee.finish();
        assert!(began.elapsed() < AT_ONCE, "{act}: {:?}", began.elapsed());
    });
}

/// Calls of a peer that asks for a ring each time and reads no ring.
const CALLS: u64 = 3000;

/// Reads the messages in a socket, and counts them.
fn unread(connection: &Connection) -> u64 {
    let mut count = 0;
    loop {
        match recv(&connection.socket, &mut [0; 64][..], RecvFlags::DONTWAIT) {
            Ok((len, _)) if len > 0 => count += 1,
            // No further message, or the end.
            Ok(_) | Err(Errno::AGAIN) => return count,
            // Reported once, after a peer has closed without reading every message.
            Err(Errno::CONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// Starts to receive a ring into a page that is never provided, on a copy of the socket: the kernel keeps the lock of a
/// receiving thread. The returned descriptor is readable when the kernel does.
fn receive_for_ever(connection: &Connection) -> OwnedFd {
    let socket = connection.socket.try_clone().unwrap();
    let mut page = MissingPage::new().unwrap();
    let awaited = page.awaited().unwrap();
    std::thread::spawn(move || recv(&socket, page.bytes(), RecvFlags::empty()).map(drop));
    awaited
}

/// Asserts that the peer rang: until the socket was full, or at least once if a thread receives for ever.
fn assert_rung(connection: &Connection, awaited: Option<&OwnedFd>) {
    if let Some(awaited) = awaited {
        let patience = Timespec::try_from(AT_ONCE).unwrap();
        assert_eq!(poll(&mut [PollFd::new(awaited, PollFlags::IN)], Some(&patience)), Ok(1), "a ring came");
    } else {
        let unread = unread(connection);
        assert!((100..CALLS).contains(&unread), "{unread} rings before the socket was full");
    }
}

fn calls_without_reading(path: &Path, receives: bool) {
    let connection = Connection::connect(path, RPC, SOURCE).unwrap();
    let awaited = receives.then(|| receive_for_ever(&connection));
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..CALLS {
        reverse.ask_for_rings().unwrap();
        forward.ask_for_rings().unwrap();
        wait::until("room", AT_ONCE, || number - forward.released().unwrap() < forward.slots());
        forward.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
        wait::until("a reply", AT_ONCE, || reverse.is_published(number).unwrap());
        reverse.release(number + 1).unwrap();
    }
    assert_eq!(reverse.state().unwrap(), 0);
    assert_rung(&connection, awaited.as_ref());
}

#[test]
fn a_caller_that_reads_no_rings_gets_its_replies_and_hinders_no_other() {
    let stuck = can_be_stuck();
    in_parallel(FORMS.to_vec(), |form| {
        let place = Place::new();
        let server = place.serve(System::Present, form);
        place.wait_for_listener();
        call_during(&place.path, || {
            calls_without_reading(&place.path, false);
            if stuck {
                calls_without_reading(&place.path, true);
            }
        });
        let events = place.stop(server);
        assert!(events.iter().all(|event| event != "Misbehaved"), "{events:?}");
    });
}

#[test]
fn a_callee_that_reads_no_rings_hinders_no_caller() {
    for receives in [false, true] {
        if receives && !can_be_stuck() {
            continue;
        }
        let place = Place::new();
        let listening = listener(&place.path).unwrap();
        let count = CALLS.to_string();
        let caller = place.run(System::Present, Program(env!("CARGO_BIN_EXE_peer")), &["caller", &count, "200"]);
        let connection = Connection::accept(&listening, RPC, SINK, 4096).unwrap();
        let awaited = receives.then(|| receive_for_ever(&connection));
        let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
        for number in 0..CALLS {
            wait::until("a request", AT_ONCE, || {
                forward.ask_for_rings().unwrap();
                forward.is_published(number).unwrap()
            });
            reverse.ask_for_rings().unwrap();
            let request = forward.payload(number).unwrap();
            reverse.publish(number, number + 1, &request).unwrap();
            forward.release(number + 1).unwrap();
            connection.ring().unwrap();
        }
        // The caller closes while its peer receives.
        assert_eq!(caller.finish(), count);
        assert_rung(&connection, awaited.as_ref());
    }
}
