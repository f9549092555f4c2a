//! A caller learns of every failure of its request at once, and its connection stays usable: every way of serving with
//! every way of calling, in two processes. `tests/python/test_never_blocked.py` tests pairs of both languages.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tachyon::{CallError, Caller};
use tachyon_tests::mishaps::{ECHO, EXITS, FAILS, FORKS, HUGE, PANICS, TYPED, UNKNOWN};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tachyon_tests::test_run::{rerun, this_program};
use tachyon_tests::{fork, wait};

/// Longest that all calls of one caller may take: "at once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let (folder, path) = socket();
        Self { _folder: folder, path }
    }

    fn start(&self, role: &str, arguments: &[&str]) -> Peer {
        Program(env!("CARGO_BIN_EXE_mishaps")).start(role, &self.path, arguments)
    }

    /// The output of a caller of some kind about its calls.
    fn call(&self, caller: &str, calls: &[String]) -> Vec<String> {
        let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
        let started = Instant::now();
        let printed = self.start(caller, &calls).finish();
        assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
        printed.lines().map(str::to_owned).collect()
    }

    fn child_note(&self) -> Option<String> {
        std::fs::read_to_string(self.path.with_extension("child")).ok()
    }
}

/// Failing calls: the request, and the expected output, which is the outcome and whether the next call is answered.
fn failing_calls(form: &str) -> Vec<(String, &'static str)> {
    let mut all = vec![
        (UNKNOWN.to_string(), "NoHandler usable"),
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
        // A forked child of a program with several threads may only exit or execute another program.
        "workers" => {}
        _ => all.push((format!("{FORKS}:runs"), "parent usable")),
    }
    all
}

fn check(form: &str) {
    for caller in ["caller", "pool", "async"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait::for_file(&place.path, AT_ONCE);
        let mut all = failing_calls(form);
        all.push((EXITS.to_string(), if caller == "pool" { "PeerDead Unreachable" } else { "PeerDead PeerDead" }));
        let (calls, expected): (Vec<String>, Vec<&str>) = all.into_iter().unzip();
        assert_eq!(place.call(caller, &calls), expected, "{form} called by {caller}");
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
fn a_callee_answers_every_failing_request() {
    check("callee");
}

#[test]
fn a_server_answers_every_failing_request() {
    check("server");
}

/// A thread of the parent may hold any lock at the fork.
#[test]
fn a_forked_child_waits_for_no_thread_of_its_parent() {
    let place = Place::new();
    let server = place.start("watched", &[]);
    wait::for_file(&place.path, AT_ONCE);
    let note = place.path.with_extension("child");
    let mut caller = Caller::connect(&place.path).unwrap();
    for _ in 0..20 {
        assert_eq!(&*caller.call(FORKS, b"runs").unwrap(), b"parent");
        wait::for_file(&note, AT_ONCE);
        wait::until("the note of a child", AT_ONCE, || place.child_note().as_deref() == Some("Forked None"));
        std::fs::remove_file(&note).unwrap();
    }
    caller.call(9, b"").unwrap();
    server.finish();
}

#[test]
fn workers_answer_every_failing_request() {
    check("workers");
}

#[test]
fn a_server_on_tokio_answers_every_failing_request() {
    check("tokio");
}

#[test]
fn ten_thousand_calls_pipeline_before_the_first_wait() {
    for form in ["callee", "server", "workers", "tokio"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait::for_file(&place.path, AT_ONCE);
        assert_eq!(place.start("pipeline", &["10000"]).finish(), "10000 answered, 0 outstanding", "{form}");
        drop(callee);
    }
}

#[test]
fn a_thousand_timeouts_leave_the_connection_usable() {
    for form in ["callee", "server", "workers", "tokio"] {
        let place = Place::new();
        let callee = place.start(form, &[]);
        wait::for_file(&place.path, AT_ONCE);
        let printed = place.start("timeouts", &["1000"]).finish();
        assert_eq!(printed, "1000 timed out, 1000 answered, 0 outstanding", "{form}");
        drop(callee);
    }
}

/// Every operation of a child on an inherited caller is refused, and the parent's calls go on.
#[test]
fn a_forked_child_may_not_use_its_parents_caller() {
    if let Ok(path) = std::env::var("TACHYON_TEST_FORK") {
        for make in [fork::fork, fork::fork_past_the_hooks] {
            fork_beside_a_caller(Path::new(&path), make);
        }
        return;
    }
    let place = Place::new();
    let _server = place.start("server", &[]);
    // In its own process with one test thread: a forked child must not need a lock that another thread holds.
    let test = "a_forked_child_may_not_use_its_parents_caller";
    rerun(this_program(), test, "TACHYON_TEST_FORK", &place.path);
}

fn fork_beside_a_caller(path: &Path, make: fn() -> Option<Pid>) {
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
        // The child's own connection is refused to its children.
        let mut own = Caller::connect(path).unwrap();
        let grandchild = make();
        refused += usize::from(grandchild.is_some() == own.call(ECHO, b"own").is_ok());
        match grandchild {
            None => fork::exit(i32::try_from(refused).unwrap()),
            Some(grandchild) => refused += usize::try_from(fork::reap(grandchild).unwrap()).unwrap(),
        }
        fork::exit(i32::try_from(refused).unwrap());
    };
    assert_eq!(fork::reap(child), Some(10), "the refused operations of the child and the grandchild");
    assert_eq!(&*caller.finish(before).unwrap(), b"before");
    assert_eq!(&*caller.call(ECHO, b"parent").unwrap(), b"parent");
}
