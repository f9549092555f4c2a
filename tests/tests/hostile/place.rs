//! Where hostile peers and their victims meet.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachyon::Caller;
use tachyon_tests::Peer;
use tachyon_tests::hostile::LINGERS;
use tachyon_tests::system::System;

/// Longest an operation of ours may take, on a busy machine; a fraction of [`LINGERS`].
pub(crate) const AT_ONCE: Duration = Duration::from_secs(6);
const _: () = assert!(AT_ONCE.as_secs() * 3 < LINGERS.as_secs());

/// The forms of a server: one thread, several, tasks.
pub(crate) const FORMS: [&str; 3] = ["1", "3", "tokio"];

pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.sock");
        Self { folder, path }
    }

    pub(crate) fn run(&self, system: System, program: &str, arguments: &[&str]) -> Peer {
        let [role, rest @ ..] = arguments else { panic!("a program has a role") };
        let mut command = system.command(env!("CARGO_BIN_EXE_sandboxed"), program);
        Peer::spawn(command.arg(role).arg(&self.path).args(rest))
    }

    /// A server of one of three forms.
    pub(crate) fn serve(&self, system: System, form: &str) -> Peer {
        match form {
            "tokio" => {
                let arguments = ["serve", "current", "64", "64", "300"];
                self.run(system, env!("CARGO_BIN_EXE_tokio_service"), &arguments)
            }
            workers => self.run(system, env!("CARGO_BIN_EXE_peer"), &["server", workers, "200"]),
        }
    }

    /// Stops a server and gives its events.
    pub(crate) fn stop(&self, server: Peer) -> Vec<String> {
        let mut caller = Caller::connect(&self.path).unwrap();
        drop(caller.call_timeout(9, b"", AT_ONCE).unwrap());
        server.finish().lines().map(str::to_owned).collect()
    }

    pub(crate) fn hostile(&self, role: &str, acts: &[&str]) -> Peer {
        let mut hostile = Peer::start(env!("CARGO_BIN_EXE_hostile"), role, &self.path, acts);
        if role == "caller" || role == "foreign" {
            assert_eq!(hostile.line(), "connected");
        } else {
            // It connects when its victim comes.
            wait_for(&self.path);
        }
        hostile
    }

    pub(crate) fn victim(&self, system: System, role: &str, mode: &str) -> Peer {
        self.run(system, env!("CARGO_BIN_EXE_victim"), &[role, mode])
    }
}

pub(crate) fn wait_for(path: &Path) {
    let deadline = Instant::now() + AT_ONCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends the calls beside an attack, also where that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls on one connection, and on new ones, while `attack` goes on and for a while after it.
pub(crate) fn calling_meanwhile(path: &Path, attack: impl FnOnce()) {
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

/// What a victim prints up to its end, which comes at once after its last line.
pub(crate) fn told(mut victim: Peer) -> Vec<String> {
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
    assert!(began.elapsed() < AT_ONCE, "its process ends {:?} later", began.elapsed());
    lines
}
