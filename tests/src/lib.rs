//! Tests of Tachyon as its users see it: in `tests/`, mostly in two processes.
//!
//! The other process is the program `peer` of this crate; [`Peer`] starts it and makes sure that it ends.

pub mod chaos;
pub mod contract;
pub mod evolution;
pub mod fork;
pub mod hostile;
pub mod mishaps;
pub mod pricing;
pub mod service;
pub mod system;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The README, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The tutorial, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/tutorial.md")]
#[derive(Debug)]
pub struct Tutorial;

/// The guide, whose Rust programs run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/rust.md")]
#[derive(Debug)]
pub struct Guide;

/// Longest a peer may take to end by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running peer process, killed when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Starts `program` (`env!("CARGO_BIN_EXE_peer")`) in a role over the socket at `path`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(program: &str, role: &str, path: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program).arg(role).arg(path).args(arguments))
    }

    /// Starts a program that is told more than a role and a path.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self { child: command.spawn().expect("the peer program was built with this test") }
    }

    /// Waits for the next line that the peer prints; what follows it is left for later.
    ///
    /// # Panics
    /// When what it prints is no text.
    pub fn line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().expect("the output was piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).expect("a pipe can be read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).expect("the peer prints text")
    }

    /// Waits for the peer to end well and gives what it printed.
    ///
    /// # Panics
    /// When it fails, or takes too long.
    pub fn finish(mut self) -> String {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "the peer does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "the peer ended with {status}");
        let mut printed = String::new();
        let mut stdout = self.child.stdout.take().expect("the output was piped");
        stdout.read_to_string(&mut printed).expect("the peer prints text");
        printed.trim().to_owned()
    }

    /// The peer's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the peer a signal.
    ///
    /// # Panics
    /// When it has been waited for already.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("a child that was not waited for can be signalled");
    }

    /// Kills the peer and waits until it is gone.
    ///
    /// # Panics
    /// Never, in a test that has not waited for the peer.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only for a child that has ended and was waited for, which is what is wanted.
        drop((self.child.kill(), self.child.wait()));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says why a test, or a part of it, is left out.
#[expect(clippy::print_stderr, reason = "the test harness has no other way to say it")]
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Does something for each of many things, six at a time: for tests that mostly wait.
///
/// # Panics
/// When it panics for one of them.
pub fn side_by_side<T: Send>(things: Vec<T>, act: impl Fn(T) + Sync) {
    let things = Mutex::new(things.into_iter());
    let next = || things.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).for_each(&act);
    std::thread::scope(|scope| {
        let threads = [(); 6].map(|()| scope.spawn(work));
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// A message that both processes can compute: `number` is its place in the stream.
pub fn message(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9) ^ number.wrapping_mul(31)).to_le_bytes()[0]).collect()
}

/// The length of the `number`-th message of a stream whose messages are up to `most` bytes long: every length comes
/// up, long ones beside short ones.
pub fn length(number: u64, most: usize) -> usize {
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as usize % (most + 1)
}
