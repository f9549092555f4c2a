//! Whatever becomes of a request, its caller is told at once and the connection goes on: every way of serving against
//! every way of calling, in two processes. `tests/python/test_never_blocked.py` has the mixed pairs.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tachyon::{CallError, Caller};
use tachyon_tests::mishaps::{ECHO, EXITS, FAILS, FORKS, HUGE, NOBODY, PANICS, TYPED};
use tachyon_tests::{Peer, fork};

/// Longest a call may take to fail here: "at once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        Self { _folder: folder, path }
    }

    fn start(&self, role: &str, arguments: &[&str]) -> Peer {
        Peer::start(env!("CARGO_BIN_EXE_mishaps"), role, &self.path, arguments)
    }

    /// What a caller of some kind prints about some calls.
    fn told(&self, caller: &str, whats: &[String]) -> Vec<String> {
        let whats: Vec<&str> = whats.iter().map(String::as_str).collect();
        let started = Instant::now();
        let printed = self.start(caller, &whats).finish();
        assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
        printed.lines().map(str::to_owned).collect()
    }

    fn child_note(&self) -> Option<String> {
        std::fs::read_to_string(self.path.with_extension("child")).ok()
    }
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + AT_ONCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every mishap, the last of which ends the callee; what its caller is told and whether the next call is answered.
fn mishaps(form: &str) -> Vec<(String, &'static str)> {
    let mut all = vec![
        (NOBODY.to_string(), "NoHandler usable"),
        (FAILS.to_string(), "HandlerFailed usable"),
        (PANICS.to_string(), "HandlerFailed usable"),
        (HUGE.to_string(), "ReplyTooLarge usable"),
        (TYPED.to_string(), "BadRequest usable"),
        (format!("{FORKS}:exits"), "parent usable"),
    ];
    match form {
        "tokio" => {
            all.push(("10".to_owned(), "HandlerFailed usable"));
            all.push(("11".to_owned(), "HandlerFailed usable"));
            all.push(("12".to_owned(), "ReplyTooLarge usable"));
        }
        // A fork of a program with several threads can only end or become another program.
        "workers" => {}
        _ => all.push((format!("{FORKS}:runs"), "parent usable")),
    }
    all
}

fn check(form: &str) {
    for caller in ["caller", "pool", "async"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait_for(&place.path);
        let mut all = mishaps(form);
        all.push((EXITS.to_string(), if caller == "pool" { "PeerDead NoListener" } else { "PeerDead PeerDead" }));
        let (whats, expected): (Vec<String>, Vec<&str>) = all.into_iter().unzip();
        assert_eq!(place.told(caller, &whats), expected, "{form} called by {caller}");
        callee.finish();
        let note = place.child_note();
        match form {
            "callee" => assert_eq!(note.as_deref(), Some("Forked Some(Forked)")),
            "server" => assert_eq!(note.as_deref(), Some("Forked None"), "a server is served once"),
            _ => assert_eq!(note, None),
        }
    }
}

#[test]
fn a_callee_answers_whatever_happens() {
    check("callee");
}

#[test]
fn a_server_answers_whatever_happens() {
    check("server");
}

#[test]
fn workers_answer_whatever_happens() {
    check("workers");
}

#[test]
fn a_server_on_tokio_answers_whatever_happens() {
    check("tokio");
}

#[test]
fn ten_thousand_calls_pipeline_before_the_first_wait() {
    for form in ["callee", "server", "workers", "tokio"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait_for(&place.path);
        assert_eq!(place.start("pipeline", &["10000"]).finish(), "10000 answered, 0 outstanding", "{form}");
        drop(callee);
    }
}

#[test]
fn a_thousand_timeouts_leave_a_bus_that_answers() {
    for form in ["callee", "server", "workers", "tokio"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait_for(&place.path);
        let told = place.start("timeouts", &["1000"]).finish();
        assert_eq!(told, "1000 timed out, 1000 answered, 0 outstanding", "{form}");
        drop(callee);
    }
}

/// A child that inherits a caller is refused, whatever it tries, and its parent's calls go on.
#[test]
fn a_child_forked_beside_a_caller_is_refused() {
    if let Ok(path) = std::env::var("TACHYON_TEST_FORK") {
        for make in [fork::fork, fork::fork_past_the_hooks] {
            forks_beside_a_caller(Path::new(&path), make);
        }
        return;
    }
    let place = Place::new();
    let _server = place.start("server", &[]);
    // A process of its own with one test thread, for the child must not need what other threads hold.
    let forking = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_forked_beside_a_caller_is_refused", "--test-threads=1"])
        .env("TACHYON_TEST_FORK", &place.path)
        .output()
        .unwrap();
    assert!(forking.status.success(), "{}", String::from_utf8_lossy(&forking.stdout));
}

fn forks_beside_a_caller(path: &Path, make: fn() -> Option<Pid>) {
    let mut caller = Caller::connect(path).unwrap();
    let before = caller.start(ECHO, b"before").unwrap();
    let Some(child) = make() else {
        let refusals = [
            caller.finish(before).map(drop),
            caller.call(ECHO, b"child").map(drop),
            caller.start(ECHO, b"child").map(drop),
            caller.reserve_call(ECHO, 100).map(drop),
        ];
        let mut refused = refusals.iter().filter(|refusal| matches!(refusal, Err(CallError::Forked))).count();
        drop(caller);
        // A connection of its own is refused to its own children in turn.
        let mut own = Caller::connect(path).unwrap();
        let grandchild = make();
        refused += usize::from(grandchild.is_some() == own.call(ECHO, b"own").is_ok());
        match grandchild {
            None => fork::exit(i32::try_from(refused).unwrap()),
            Some(grandchild) => refused += usize::try_from(fork::reap(grandchild).unwrap()).unwrap(),
        }
        fork::exit(i32::try_from(refused).unwrap());
    };
    assert_eq!(fork::reap(child), Some(10), "four are refused, and the grandchild");
    assert_eq!(&*caller.finish(before).unwrap(), b"before");
    assert_eq!(&*caller.call(ECHO, b"parent").unwrap(), b"parent");
}
