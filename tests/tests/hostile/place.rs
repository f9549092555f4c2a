//! A socket for a hostile peer and its victim, and the programs that run at its two ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachyon::Caller;
use tachyon_tests::lingering::LINGERS;
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::sandbox::System;
use tachyon_tests::temporary::socket;
use tachyon_tests::{server, wait};

/// Longest that an operation of the victim may take on a busy machine. A fraction of [`LINGERS`].
pub(crate) const AT_ONCE: Duration = Duration::from_secs(6);
const _: () = assert!(AT_ONCE.as_secs() * 3 < LINGERS.as_secs());

/// The forms of a server: one thread, three workers, tasks of tokio.
pub(crate) const FORMS: [&str; 3] = ["1", "3", "tokio"];

pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (folder, path) = socket();
        Self { folder, path }
    }

    pub(crate) fn run(&self, system: System, program: Program, arguments: &[&str]) -> Peer {
        let [role, rest @ ..] = arguments else { panic!("a program has a role") };
        let mut command = system.command(Program(env!("CARGO_BIN_EXE_sandboxed")), program);
        Peer::spawn(command.arg(role).arg(&self.path).args(rest))
    }

    /// Starts a server of one of the [`FORMS`].
    pub(crate) fn serve(&self, system: System, form: &str) -> Peer {
        match form {
            "tokio" => {
                let arguments = ["serve", "current", "64", "64", "300"];
                self.run(system, Program(env!("CARGO_BIN_EXE_tokio_service")), &arguments)
            }
            workers => self.run(system, Program(env!("CARGO_BIN_EXE_peer")), &["server", workers, "200"]),
        }
    }

    /// Stops a server, and returns its events.
    pub(crate) fn stop(&self, server: Peer) -> Vec<String> {
        server::stop(server, &self.path, AT_ONCE)
    }

    pub(crate) fn hostile(&self, role: &str, acts: &[&str]) -> Peer {
        let mut hostile = Program(env!("CARGO_BIN_EXE_hostile")).start(role, &self.path, acts);
        if role == "caller" || role == "foreign" {
            assert_eq!(hostile.line(), "connected");
        } else {
            // The peer listens, and prints that it is connected when its victim connects.
            self.wait_for_listener();
        }
        hostile
    }

    /// Waits until a process listens.
    pub(crate) fn wait_for_listener(&self) {
        wait::for_file(&self.path, AT_ONCE);
    }

    pub(crate) fn victim(&self, system: System, role: &str, mode: &str) -> Peer {
        self.run(system, Program(env!("CARGO_BIN_EXE_victim")), &[role, mode])
    }
}

/// Ends the calls beside an attack, also if the attack panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes calls on one connection and on new connections during `attack` and for some time after it. Each call must be
/// answered at once.
pub(crate) fn call_during(path: &Path, attack: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let deadline = Instant::now() + 4 * LINGERS;
    let call = |caller: &mut Caller| {
        let began = Instant::now();
        let outcome = caller.call_timeout(1, b"honest", AT_ONCE).map(|reply| reply.to_vec());
        assert_eq!(outcome.unwrap(), b"honest", "after {:?}", began.elapsed());
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    };
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut steady = Caller::connect(path).unwrap();
            let mut left = 30;
            while left > 0 {
                call(&mut steady);
                call(&mut Caller::connect(path).unwrap());
                left -= u32::from(over.load(Ordering::Relaxed));
                std::thread::sleep(Duration::from_millis(5));
                assert!(Instant::now() < deadline, "the attack does not end");
            }
        });
        let guard = Over(&over);
        attack();
        drop(guard);
        calling.join().unwrap();
    });
}

/// The output of a victim, whose process must end at once after its last line.
pub(crate) fn output(mut victim: Peer) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = victim.line();
        if line.is_empty() {
            break;
        }
        assert!(!line.contains("took"), "{line}, after {lines:?}");
        lines.push(line);
    }
    let began = Instant::now();
    victim.finish();
    assert!(began.elapsed() < AT_ONCE, "the process ends {:?} later", began.elapsed());
    lines
}
