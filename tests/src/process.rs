//! The programs of this crate: how a test runs one as its peer, and how the program reads its arguments and prints.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait;

/// Longest that a peer may take to end by itself.
const LONGEST_END: Duration = Duration::from_mins(1);

/// A program of this crate: `Program(env!("CARGO_BIN_EXE_peer"))`.
#[derive(Debug, Clone, Copy)]
pub struct Program(pub &'static str);

impl Program {
    /// Runs the program in a role over the socket at `path`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(self, role: &str, path: &Path, arguments: &[&str]) -> Peer {
        Peer::spawn(self.command().arg(role).arg(path).args(arguments))
    }

    /// A command that runs the program.
    pub fn command(self) -> Command {
        Command::new(self.0)
    }
}

/// A running peer process. Dropping it kills the process.
#[derive(Debug)]
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Runs a command.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self { child: command.spawn().expect("the peer program was built with this test") }
    }

    /// Waits for the next line that the peer prints. An empty line is the end of the output.
    ///
    /// # Panics
    /// When the line is not UTF-8.
    pub fn line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().expect("the output was piped");
        let mut line = Vec::new();
        let mut byte = [0];
        // Byte by byte: a buffered reader would lose the rest, which `finish` returns.
        while stdout.read(&mut byte).expect("a pipe can be read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).expect("the peer prints text")
    }

    /// Waits until the peer has ended in any way.
    ///
    /// # Panics
    /// When the peer does not end within a minute.
    pub fn ended(mut self) {
        wait::until("the end of the peer", LONGEST_END, || {
            self.child.try_wait().expect("a child can be waited for").is_some()
        });
    }

    /// Waits until the peer has ended with success, and returns the rest of its output.
    ///
    /// # Panics
    /// When the peer fails, or does not end within a minute.
    pub fn finish(mut self) -> String {
        let mut status = None;
        wait::until("the end of the peer", LONGEST_END, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let status = status.expect("the peer has ended");
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
    /// When the peer has been waited for.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("a child that was not waited for can be signalled");
    }

    /// Kills the peer and waits for its end.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only for a child that has ended and was waited for.
        drop((self.child.kill(), self.child.wait()));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The arguments of this program, for its whole life.
pub fn arguments() -> Vec<&'static str> {
    std::env::args().skip(1).map(|argument| &*argument.leak()).collect()
}

/// Prints a line for the test that runs this program, which may wait for that line.
///
/// # Errors
/// A standard output that cannot be written.
#[expect(clippy::print_stdout, reason = "a peer reports by printing")]
pub fn report(line: &str) -> std::io::Result<()> {
    println!("{line}");
    std::io::stdout().flush()
}
