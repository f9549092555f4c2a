//! Two users on one machine. Only root can become another user; without root these tests check nothing.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;

use super::*;

const OTHER_USER: u32 = 65534;

/// Runs `act` as another user, in a thread of its own; `None` without the privilege to do so.
///
/// On Linux the user belongs to the thread, unless the C library changes it for all threads.
fn as_other_user<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !geteuid().is_root() {
        skipped();
        return None;
    }
    let other = Uid::from_raw(OTHER_USER);
    Some(thread::spawn(move || set_thread_res_uid(other, other, other).map(|()| act())).join().unwrap().unwrap())
}

#[allow(clippy::print_stderr, reason = "says why a test checks nothing")]
fn skipped() {
    eprintln!("skipped: only root can become another user");
}

/// Connects to `place` as another user.
fn connect_as_other_user(place: &Place, options: Options) -> Option<Result<Pairing, ConnectError>> {
    let path = place.path.clone();
    as_other_user(move || connect(&path, Kind::Bus, Role::Source, &options))
}

/// A directory of the given mode, for a socket.
fn place_with_mode(mode: u32) -> Place {
    let place = Place::new();
    set_permissions(place.directory.path(), Permissions::from_mode(mode)).unwrap();
    place
}

fn bind(place: &Place) -> Result<Listener, ListenError> {
    Listener::bind(&place.path, &patient())
}

/// Lets all users open the socket at `place`.
fn open_to_all(place: &Place) {
    set_permissions(&place.path, Permissions::from_mode(0o666)).unwrap();
}

/// The outcomes of a listener whose socket all users may open, and of a connector that runs as another user.
fn meet(listens: Options, connects: Options) -> (Result<Pairing, ListenError>, Option<Result<Pairing, ConnectError>>) {
    let place = place_with_mode(0o755);
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), listens);
    open_to_all(&place);
    let client = connect_as_other_user(&place, connects);
    (server.join().unwrap(), client)
}

#[test]
fn the_file_keeps_other_users_out() {
    let place = place_with_mode(0o755);
    let _listener = bind(&place).unwrap();
    let Some(outcome) = connect_as_other_user(&place, patient()) else { return };
    let error = outcome.unwrap_err();
    let ConnectError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn a_listener_rejects_other_users() {
    let (server, client) = meet(Options::new().timeout(Duration::from_millis(300)), patient().any_uid(true));
    let Some(client) = client else { return };
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error}");
    let error = server.unwrap_err();
    let ListenError::TimedOut { last: Some(Rejection::ForeignUser { uid: Some(OTHER_USER) }), .. } = error else {
        panic!("{error}")
    };
}

#[test]
fn a_connector_does_not_talk_to_another_users_listener() {
    let place = place_with_mode(0o755);
    let _listener = bind(&place).unwrap();
    open_to_all(&place);
    let Some(outcome) = connect_as_other_user(&place, patient()) else { return };
    let error = outcome.unwrap_err();
    let ConnectError::ForeignListener { ours: OTHER_USER, theirs: Some(0), .. } = error else { panic!("{error}") };
}

#[test]
fn two_users_that_both_allow_it_are_linked() {
    let options = Options::new().timeout(Duration::from_millis(500)).any_uid(true);
    let (server, client) = meet(options.clone(), options);
    let Some(client) = client else { return };
    assert_eq!(server.unwrap().peer.uid(), Some(OTHER_USER));
    assert_eq!(client.unwrap().peer.uid(), Some(0));
}

#[test]
fn the_lock_of_another_user_is_named() {
    let place = place_with_mode(0o777);
    let lock = place.path.with_file_name("bus.sock.lock");
    let Some(_theirs) = as_other_user(move || std::fs::File::create(lock).unwrap()) else { return };
    let error = bind(&place).unwrap_err();
    assert!(matches!(&error, ListenError::ForeignLock { uid: OTHER_USER, .. }), "{error}");
}

#[test]
fn a_directory_without_read_permission_suffices() {
    let place = place_with_mode(0o733);
    let path = place.path.clone();
    let bound = as_other_user(move || Listener::bind(&path, &patient()).map(drop));
    if let Some(bound) = bound {
        bound.unwrap();
    }
}

#[test]
fn clients_see_the_present_user_of_the_listener() {
    let place = place_with_mode(0o755);
    let listener = bind(&place).unwrap();
    open_to_all(&place);
    let path = place.path.clone();
    let seen = move || {
        let client = Raw::connect(&path);
        credentials::of_peer(client.0.as_fd()).unwrap().unwrap().uid
    };
    let before = seen();
    let Some((listener, after)) = as_other_user(move || {
        listener.update_credentials();
        (listener, seen())
    }) else {
        return;
    };
    assert_eq!((before, after), (Some(0), Some(OTHER_USER)));
    drop(listener);
}
