//! Too few file descriptors.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Runs `act` while only `left` more descriptors can be opened.
fn with_descriptors_left<T>(left: u64, act: impl FnOnce() -> T) -> T {
    let usual = getrlimit(Resource::Nofile);
    // More than the unused numbers among those in use, so that the next number follows the highest of these.
    let filled: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let highest = filled.iter().map(|file| u64::try_from(file.as_raw_fd()).unwrap()).max().unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(highest + 1 + left), maximum: usual.maximum }).unwrap();
    let value = act();
    setrlimit(Resource::Nofile, usual).unwrap();
    value
}

#[test]
fn too_few_descriptors_are_reported_and_the_listener_recovers() {
    in_own_process("limits::child_that_runs_out", "true", &Place::new().path);
}

#[test]
#[ignore = "run by too_few_descriptors_are_reported_and_the_listener_recovers"]
fn child_that_runs_out() {
    if child_path().is_none() {
        return;
    }
    let place = Place::new();
    let options = patient();
    for left in 0..2 {
        let error = with_descriptors_left(left, || Listener::bind(&place.path, &options).unwrap_err());
        assert!(matches!(error, ListenError::OutOfDescriptors { .. }), "{error}");
        let error = with_descriptors_left(0, || connect(&place.path, Kind::Bus, Role::Source, &options).unwrap_err());
        assert!(matches!(error, ConnectError::OutOfDescriptors { .. }), "{error}");
    }
    assert_eq!(place.contents(), [""; 0]);

    let listener = Listener::bind(&place.path, &options).unwrap();
    let accept = || listener.accept(&offer(Kind::Rpc, Role::Sink), &options, Deadline::after(PATIENCE)).unwrap_err();
    let asked = wire::Hello { kind: Kind::Rpc, role: Role::Source, probe: false, wishes: [None; 2], time_namespace: 0 };
    let hello = wire::write_hello(asked);
    let queued = Raw::connect(&place.path);
    queued.send(hello, &[]);
    let error = with_descriptors_left(0, accept);
    assert!(matches!(error, ListenError::OutOfDescriptors { .. }), "{error}");
    assert!(listener.try_accept().unwrap().is_some(), "the client is still in the queue");
    drop(queued);

    // For any number of free descriptors, from the client's socket to the last segment, the client gets a reject and no
    // descriptor leaks.
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for left in 1..4 {
        let client = Raw::connect(&place.path);
        client.send(hello, &[]);
        let error = with_descriptors_left(left, accept);
        assert!(error.to_string().contains("no file descriptor left"), "{left}: {error}");
        assert_eq!(client.receive_reject().code, wire::Code::Other);
    }
    assert_eq!(open(), before);

    // The other side, from the listener's pidfd to the last segment.
    let offer = offer(Kind::Rpc, Role::Sink);
    let segments: Vec<_> = offer.geometries.iter().map(|geometry| RingMemory::create(*geometry).unwrap().1).collect();
    let welcome = wire::write_welcome(&offer, Role::Sink);
    let before = open();
    for left in 0..3 {
        let (listener, ours) = raw_pair();
        listener.send(welcome, &[segments[0].as_fd(), segments[1].as_fd()]);
        let ours = Socket::connecting(ours);
        let error = with_descriptors_left(left, || Connecting::handshake_over(ours, asked).unwrap_err());
        assert!(matches!(error, ConnectError::OutOfDescriptors { .. }), "{left}: {error}");
        drop(listener);
        // The reaper closes a socket with an untaken welcome, which would free descriptors in the next round.
        let deadline = Deadline::after(PATIENCE);
        while open() != before {
            assert!(!deadline.has_passed(), "{} descriptors instead of {before}", open());
            thread::sleep(Duration::from_millis(1));
        }
    }
}
