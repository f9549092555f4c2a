//! Floods, garbage, sockets that nobody reads, and peers that stay in a system call.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tachyon_tests::hostile::{Connection, RPC, SINK, SOURCE, listener};
use tachyon_tests::system::{Absent, System};
use tachyon_tests::{side_by_side, skip};

use super::place::{AT_ONCE, FORMS, Place, calling_meanwhile, told, wait_for};

/// What becomes of the connection, seen from a side that looks at its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing: it goes on.
    None,
    /// The peer hung up, as an empty message says.
    Gone,
    /// The peer is at fault.
    Fault,
}

/// What a hostile peer does, and what becomes of the connection.
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

/// Whether the acts of a process that stays in a system call can be played.
fn can_be_stuck() -> bool {
    let outcome = Absent::new();
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
        wait_for(&place.path);
        let mut expected = [0, 0];
        for (_, act, end) in acts().filter(|(which, ..)| *which == system) {
            calling_meanwhile(&place.path, || {
                let mut hostile = place.hostile("caller", &["call", act]);
                if act == "stuck" {
                    assert_eq!(hostile.line(), "stuck");
                }
                assert_eq!(hostile.line(), "done", "{act}");
                // It stays for some of the calls that follow.
                std::thread::sleep(Duration::from_millis(50));
            });
            expected[usize::from(end == End::Fault)] += 1;
        }
        let events = place.stop(server);
        let count = |what| events.iter().filter(|event| *event == what).count();
        assert_eq!([count("Died"), count("Misbehaved")], expected, "{system:?}: {events:?}");
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

/// Has victims meet each act. Before it the hostile peer plays another one, if there is one.
fn times_out(hostile: &str, before: Option<&str>, victims: &[(&str, &str)]) {
    let all = victims.iter().flat_map(|victim| acts().map(move |act| (*victim, act)));
    side_by_side(all.collect(), |((role, mode), (system, act, end))| {
        let place = Place::new();
        let acts: Vec<&str> = before.into_iter().chain([act]).collect();
        let peer = place.hostile(hostile, &acts);
        let lines = told(place.victim(system, role, mode));
        let last = if role == "async_caller" { "end fine" } else { "close fine" };
        assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
        let ended = |how| lines.iter().any(|line| line.ends_with(how));
        let found = match (ended("FatalError"), ended("PeerDead")) {
            (true, _) => End::Fault,
            (_, true) => End::Gone,
            _ => End::None,
        };
        // A side that spins never looks at the socket.
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

/// A callee that serves one caller hears of its end, whatever that did before.
#[test]
fn callees_end_with_their_caller() {
    side_by_side(acts().collect(), |(system, act, end)| {
        let place = Place::new();
        let mut callee = place.run(system, env!("CARGO_BIN_EXE_peer"), &["callee", "4096", "4096", "adaptive", "text"]);
        let mut hostile = place.hostile("caller", &["call", "idle", act]);
        if act == "stuck" {
            assert_eq!(hostile.line(), "stuck");
        }
        assert_eq!(hostile.line(), "done", "{act}");
        let began = Instant::now();
        // Where there is no end by itself, its death is one.
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

/// Calls of a peer that asks to be rung each time and reads no ring.
const CALLS: u64 = 3000;

/// Takes what lies in a socket, and counts it.
fn unread(connection: &Connection) -> u64 {
    let mut count = 0;
    loop {
        match recv(&connection.socket, &mut [0; 64][..], RecvFlags::DONTWAIT) {
            Ok((len, _)) if len > 0 => count += 1,
            // No more, or the end.
            Ok(_) | Err(Errno::AGAIN) => return count,
            // Told once, by a peer that has closed without having read all of ours.
            Err(Errno::CONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + AT_ONCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Begins to receive a ring into memory that never arrives, on a copy of the socket. The kernel then holds what a thread
/// holds that receives. Readable once it does.
fn receive_for_ever(connection: &Connection) -> OwnedFd {
    let socket = connection.socket.try_clone().unwrap();
    let mut absent = Absent::new().unwrap();
    let awaited = absent.awaited().unwrap();
    std::thread::spawn(move || recv(&socket, absent.bytes(), RecvFlags::empty()).map(drop));
    awaited
}

/// Makes sure that the peer rang: as often as the socket holds, or once while it is received for ever.
fn assert_rung(connection: &Connection, awaited: Option<&OwnedFd>) {
    if let Some(awaited) = awaited {
        let patience = Timespec::try_from(AT_ONCE).unwrap();
        assert_eq!(poll(&mut [PollFd::new(awaited, PollFlags::IN)], Some(&patience)), Ok(1), "a ring came");
    } else {
        let unread = unread(connection);
        assert!((100..CALLS).contains(&unread), "{unread} rings, and then the socket is full");
    }
}

fn calls_without_reading(path: &Path, receives: bool) {
    let connection = Connection::connect(path, RPC, SOURCE).unwrap();
    let awaited = receives.then(|| receive_for_ever(&connection));
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..CALLS {
        reverse.ask_for_rings().unwrap();
        forward.ask_for_rings().unwrap();
        until("room", || number - forward.released().unwrap() < forward.slots());
        forward.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
        until("a reply", || reverse.is_published(number).unwrap());
        reverse.release(number + 1).unwrap();
    }
    assert_eq!(reverse.state().unwrap(), 0);
    assert_rung(&connection, awaited.as_ref());
}

#[test]
fn a_caller_that_reads_no_rings_gets_its_replies_and_hinders_no_other() {
    let stuck = can_be_stuck();
    side_by_side(FORMS.to_vec(), |form| {
        let place = Place::new();
        let server = place.serve(System::Present, form);
        wait_for(&place.path);
        calling_meanwhile(&place.path, || {
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
        let caller = place.run(System::Present, env!("CARGO_BIN_EXE_peer"), &["caller", &count, "200"]);
        let connection = Connection::accept(&listening, RPC, SINK, 4096).unwrap();
        let awaited = receives.then(|| receive_for_ever(&connection));
        let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
        for number in 0..CALLS {
            until("a request", || {
                forward.ask_for_rings().unwrap();
                forward.is_published(number).unwrap()
            });
            reverse.ask_for_rings().unwrap();
            let request = forward.payload(number).unwrap();
            reverse.publish(number, number + 1, &request).unwrap();
            forward.release(number + 1).unwrap();
            connection.ring().unwrap();
        }
        // It closes while its peer receives.
        assert_eq!(caller.finish(), count);
        assert_rung(&connection, awaited.as_ref());
    }
}
