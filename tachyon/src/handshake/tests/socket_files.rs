//! The files at and beside the path.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::{Arc, Barrier};

use super::*;

fn bind(path: &Path) -> Result<Listener, ListenError> {
    Listener::bind(path, &patient())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Makes a socket file without a listener.
fn make_stale(path: &Path) -> u64 {
    let socket = bind::new_socket().unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn the_file_is_for_its_owner_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        let place = Place::new();
        in_own_process("socket_files::child_with_another_umask", &format!("umask {umask}"), &place.path);
    }
}

#[test]
#[ignore = "run by the_file_is_for_its_owner_whatever_the_umask"]
fn child_with_another_umask() {
    let Some(path) = child_path() else { return };
    let _listener = bind(&path).unwrap();
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_file_that_is_no_socket_is_never_touched() {
    let place = Place::new();
    fs::write(&place.path, "precious").unwrap();
    assert!(matches!(bind(&place.path), Err(ListenError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");
    let error = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap_err();
    assert!(matches!(error, ConnectError::NotASocket { .. }), "{error}");
    fs::remove_file(&place.path).unwrap();

    fs::create_dir(&place.path).unwrap();
    assert!(matches!(bind(&place.path), Err(ListenError::NotASocket { .. })));
    assert!(matches!(bind(&place.path.join("")), Err(ListenError::NotASocket { .. })));
    assert!(place.path.is_dir());
}

#[test]
fn a_symlink_is_not_a_socket_even_if_it_leads_to_one() {
    let place = Place::new();
    let target = place.directory.path().join("target.sock");
    make_stale(&target);
    symlink(&target, &place.path).unwrap();
    assert!(matches!(bind(&place.path), Err(ListenError::NotASocket { .. })));
    assert!(fs::symlink_metadata(&place.path).unwrap().is_symlink() && is_socket(&target));
    let dangling = place.directory.path().join("dangling.sock");
    symlink("nowhere", &dangling).unwrap();
    assert!(matches!(bind(&dangling), Err(ListenError::NotASocket { .. })));
}

#[test]
fn a_live_listener_keeps_its_path() {
    let place = Place::new();
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), patient());
    for _ in 0..3 {
        assert!(matches!(bind(&place.path), Err(ListenError::AddressInUse { .. })));
    }
    let _client = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
    server.join().unwrap().unwrap();
}

#[test]
fn a_listener_with_a_full_queue_is_alive() {
    let place = Place::new();
    let socket = bind::new_socket().unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&place.path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _queued = Raw::connect(&place.path);
    assert!(matches!(bind(&place.path), Err(ListenError::AddressInUse { .. })));
    let error = connect(&place.path, Kind::Bus, Role::Sink, &Options::new().timeout(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
}

#[test]
fn live_sockets_of_other_types_keep_their_path() {
    let place = Place::new();
    let _stream = UnixListener::bind(&place.path).unwrap();
    let datagram = place.directory.path().join("datagram.sock");
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    for path in [&place.path, &datagram] {
        assert!(matches!(bind(path), Err(ListenError::AddressInUse { .. })));
        let error = connect(path, Kind::Bus, Role::Source, &patient()).unwrap_err();
        assert!(matches!(error, ConnectError::WrongSocketType { .. }), "{error}");
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = Place::new();
    make_stale(&place.path);
    let error = connect(&place.path, Kind::Bus, Role::Source, &Options::new().timeout(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, ConnectError::NoListener { .. }), "{error}");
    let listener = bind(&place.path).unwrap();
    assert!(is_socket(&place.path));
    drop(listener);
    assert_eq!(place.contents(), [""; 0]);
}

#[test]
fn one_of_two_simultaneous_listeners_gets_the_path() {
    for round in 0..50 {
        let place = Place::new();
        if round % 2 == 0 {
            make_stale(&place.path);
        }
        let start = Arc::new(Barrier::new(2));
        let racers: Vec<_> = (0..2)
            .map(|_| {
                let (path, start) = (place.path.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    bind(&path)
                })
            })
            .collect();
        let outcomes: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        assert!(
            outcomes
                .iter()
                .filter_map(|outcome| outcome.as_ref().err())
                .all(|error| { matches!(error, ListenError::AddressInUse { .. }) })
        );
        assert_eq!(place.contents(), ["bus.sock"], "no other file is left");
        drop(Raw::connect(&place.path));
        drop(outcomes);
        assert_eq!(place.contents(), [""; 0]);
    }
}

#[test]
fn a_path_that_is_no_longer_ours_is_left_alone() {
    let place = Place::new();
    let listener = bind(&place.path).unwrap();
    fs::remove_file(&place.path).unwrap();
    let theirs = make_stale(&place.path);
    drop(listener);
    assert_eq!(fs::symlink_metadata(&place.path).unwrap().ino(), theirs);

    fs::remove_file(&place.path).unwrap();
    let listener = bind(&place.path).unwrap();
    fs::remove_file(&place.path).unwrap();
    fs::write(&place.path, "precious").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");
}

#[test]
fn impossible_paths_are_refused_on_both_sides() {
    let long = PathBuf::from("/tmp").join("x".repeat(120));
    for path in [Path::new(""), Path::new("a\0b"), &long] {
        assert!(matches!(bind(path), Err(ListenError::Path(_))));
        assert!(matches!(connect(path, Kind::Bus, Role::Sink, &patient()), Err(ConnectError::Path(_))));
    }
    for path in ["/", ".", "..", "/tmp/..", "/tmp/."] {
        assert!(matches!(bind(Path::new(path)), Err(ListenError::NotASocket { .. })), "{path}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let place = Place::new();
    let error = bind(&place.directory.path().join("missing/bus.sock")).unwrap_err();
    assert!(matches!(&error, ListenError::NoDirectory { directory } if directory.ends_with("missing")), "{error}");
}

#[test]
fn a_locked_directory_does_not_block_a_listener() {
    let place = Place::new();
    // Every user that can read a directory can lock it.
    let lock = fs::File::open(place.directory.path()).unwrap();
    lock.lock().unwrap();
    drop(bind(&place.path).unwrap());
    assert_eq!(place.contents(), [""; 0]);
}

#[test]
fn a_locked_path_is_an_error_and_not_a_hang() {
    let place = Place::new();
    let lock = fs::File::create(place.path.with_file_name("bus.sock.lock")).unwrap();
    lock.lock().unwrap();
    let (error, waited) = took(|| bind(&place.path).unwrap_err());
    assert!(matches!(&error, ListenError::Locked { path } if path.ends_with("bus.sock.lock")), "{error}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    lock.unlock().unwrap();
    let _listener = bind(&place.path).unwrap();
    assert_eq!(place.contents(), ["bus.sock"], "the unlocked file is removed");
}

#[test]
fn a_lock_that_is_no_file_is_an_error() {
    let place = Place::new();
    let lock = place.path.with_file_name("bus.sock.lock");
    symlink("/dev/null", &lock).unwrap();
    assert!(matches!(bind(&place.path), Err(ListenError::Io { .. })));
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert!(matches!(bind(&place.path), Err(ListenError::Io { .. })));
}
