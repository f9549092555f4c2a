//! Two users on one machine. Becoming another one takes root; elsewhere these tests have nothing to say.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;

use super::*;

const NOBODY: u32 = 65534;

/// Runs `act` as another user, in a thread of its own; `None` without the privilege to do so.
///
/// On Linux the user belongs to the thread, as long as the C library is not asked to change it for all.
fn as_nobody<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !geteuid().is_root() {
        skipped();
        return None;
    }
    let nobody = Uid::from_raw(NOBODY);
    Some(thread::spawn(move || set_thread_res_uid(nobody, nobody, nobody).map(|()| act())).join().unwrap().unwrap())
}

#[allow(clippy::print_stderr, reason = "says why a test checks nothing")]
fn skipped() {
    eprintln!("skipped: only root can become another user");
}

/// A place that everyone can reach once the socket file lets them.
fn open_place() -> Place {
    let place = Place::new();
    set_permissions(place.directory.path(), Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn the_file_keeps_other_users_out() {
    let place = open_place();
    let _listener = Listener::bind(&place.path, &patient()).unwrap();
    let path = place.path.clone();
    let Some(error) = as_nobody(move || connect(&path, Kind::Bus, Role::Source, &patient()).unwrap_err()) else {
        return;
    };
    let ConnectError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn a_listener_turns_other_users_away() {
    let place = open_place();
    let options = Options::new().timeout(Duration::from_millis(300));
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options);
    set_permissions(&place.path, Permissions::from_mode(0o666)).unwrap();
    let path = place.path.clone();
    let trusting = patient().any_uid(true);
    let outcome = as_nobody(move || connect(&path, Kind::Bus, Role::Source, &trusting).unwrap_err());
    let refused = server.join().unwrap().unwrap_err();
    let Some(error) = outcome else { return };
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error}");
    let ListenError::TimedOut { last: Some(Rejection::ForeignUser { uid: Some(NOBODY) }), .. } = refused else {
        panic!("{refused}")
    };
}

#[test]
fn a_connector_does_not_talk_to_another_users_listener() {
    let place = open_place();
    let _listener = Listener::bind(&place.path, &patient()).unwrap();
    set_permissions(&place.path, Permissions::from_mode(0o666)).unwrap();
    let path = place.path.clone();
    let Some(error) = as_nobody(move || connect(&path, Kind::Bus, Role::Source, &patient()).unwrap_err()) else {
        return;
    };
    let ConnectError::ForeignListener { ours: NOBODY, theirs: Some(0), .. } = error else { panic!("{error}") };
}

#[test]
fn two_users_that_both_allow_it_are_linked() {
    let place = open_place();
    let options = Options::new().timeout(Duration::from_millis(500)).any_uid(true);
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options.clone());
    set_permissions(&place.path, Permissions::from_mode(0o666)).unwrap();
    let path = place.path.clone();
    let outcome = as_nobody(move || connect(&path, Kind::Bus, Role::Source, &options));
    let server = server.join().unwrap();
    let Some(client) = outcome else { return };
    assert_eq!(server.unwrap().peer.uid(), Some(NOBODY));
    assert_eq!(client.unwrap().peer.uid(), Some(0));
}

#[test]
fn the_lock_of_another_user_is_told() {
    let place = open_place();
    set_permissions(place.directory.path(), Permissions::from_mode(0o777)).unwrap();
    let lock = place.path.with_file_name("bus.sock.lock");
    let Some(_theirs) = as_nobody(move || std::fs::File::create(lock).unwrap()) else { return };
    let error = Listener::bind(&place.path, &patient()).unwrap_err();
    assert!(matches!(&error, ListenError::ForeignLock { uid: NOBODY, .. }), "{error}");
}

#[test]
fn a_directory_that_cannot_be_read_will_do() {
    let place = open_place();
    set_permissions(place.directory.path(), Permissions::from_mode(0o733)).unwrap();
    let path = place.path.clone();
    let bound = as_nobody(move || Listener::bind(&path, &patient()).map(drop));
    if let Some(bound) = bound {
        bound.unwrap();
    }
}

#[test]
fn clients_see_who_listens_now() {
    let place = open_place();
    let listener = Listener::bind(&place.path, &patient()).unwrap();
    set_permissions(&place.path, Permissions::from_mode(0o666)).unwrap();
    let path = place.path.clone();
    let seen = move || {
        let client = Raw::connect(&path);
        credentials::of_peer(client.0.as_fd()).unwrap().unwrap().uid
    };
    let before = seen();
    let Some((listener, after)) = as_nobody(move || {
        listener.update_credentials();
        (listener, seen())
    }) else {
        return;
    };
    assert_eq!((before, after), (Some(0), Some(NOBODY)));
    drop(listener);
}
