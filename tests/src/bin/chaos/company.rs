//! The actors: processes of either language that take orders.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};
use tachyon_tests::chaos::order::Order;

/// Longest an actor may take for what it is told: far beyond what anything takes, but not for ever.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What an actor is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Language {
    Rust,
    Python,
}

impl Language {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
        }
    }
}

/// Where actors come from.
#[derive(Debug)]
pub(crate) struct Company {
    rust: PathBuf,
    python: Option<Breeder>,
    folder: PathBuf,
    bred: u32,
}

/// A Python process that forks actors, since interpreters take long to start.
#[derive(Debug)]
struct Breeder {
    child: Child,
    stdin: ChildStdin,
    said: Lines,
}

type Lines = Receiver<Order>;

/// What `from` says, line by line.
fn lines(from: impl Read + Send + 'static) -> Lines {
    let (said, lines) = channel();
    std::thread::spawn(move || {
        // Ends with the actor, or with whoever listened.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if said.send(Order::read(&line)).is_err() {
                break;
            }
        }
    });
    lines
}

impl Company {
    /// A company whose Python actors, if there are any, are of this interpreter and this script.
    pub(crate) fn new(python: Option<(PathBuf, PathBuf)>, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let rust = std::env::current_exe()?.with_file_name("actor");
        if !rust.exists() {
            return Err(format!("{} is not built", rust.display()).into());
        }
        let python = match python {
            None => None,
            Some((interpreter, script)) => {
                let mut command = Command::new(interpreter);
                command.arg("-W").arg("error").arg(script).arg("breed");
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let stdin = child.stdin.take().ok_or("the input was piped")?;
                let said = lines(child.stdout.take().ok_or("the output was piped")?);
                Some(Breeder { child, stdin, said })
            }
        };
        Ok(Self { rust, python, folder: folder.to_owned(), bred: 0 })
    }

    pub(crate) fn languages(&self) -> &'static [Language] {
        if self.python.is_some() { &[Language::Rust, Language::Python] } else { &[Language::Rust] }
    }

    /// An actor that has not played yet.
    pub(crate) fn engage(&mut self, language: Language) -> Result<Actor, Box<dyn Error>> {
        match language {
            Language::Rust => {
                let mut command = Command::new(&self.rust);
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let stdin = child.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
                let said = lines(child.stdout.take().ok_or("the output was piped")?);
                let pid = Pid::from_raw(child.id().cast_signed());
                Ok(Actor { language, pid, child: Some(child), stdin, said })
            }
            Language::Python => {
                self.bred += 1;
                let pipes = ["orders", "answers"].map(|name| self.folder.join(format!("{name}-{}", self.bred)));
                for pipe in &pipes {
                    mkfifo(pipe, Mode::S_IRWXU)?;
                }
                let breeder = self.python.as_mut().ok_or("no Python interpreter was named")?;
                writeln!(breeder.stdin, "{} {}", pipes[0].display(), pipes[1].display())?;
                let bred = breeder.said.recv_timeout(PATIENCE)?;
                // In the order in which the other side opens them.
                let stdin = Some(File::options().write(true).open(&pipes[0])?);
                let said = lines(File::open(&pipes[1])?);
                for pipe in &pipes {
                    std::fs::remove_file(pipe)?;
                }
                let pid = Pid::from_raw(bred.get("pid").ok_or("the breeder gave no process id")?);
                Ok(Actor { language, pid, child: None, stdin, said })
            }
        }
    }
}

impl Drop for Breeder {
    fn drop(&mut self) {
        // It has nothing that is not also its children's.
        drop((self.child.kill(), self.child.wait()));
    }
}

/// A running actor. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) language: Language,
    pid: Pid,
    /// This process's own; others are the breeder's.
    child: Option<Child>,
    stdin: Option<File>,
    said: Lines,
}

impl Actor {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn tell(&mut self, order: &Order) -> Result<(), Box<dyn Error>> {
        let stdin = self.stdin.as_mut().ok_or("its input has ended")?;
        writeln!(stdin, "{order}")?;
        Ok(())
    }

    /// The next line it says, within `limit`; none if it ends without.
    pub(crate) fn hear(&self, limit: Duration) -> Result<Order, Box<dyn Error>> {
        self.said.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                format!("the {} actor says nothing for {} s: it hangs", self.language.name(), limit.as_secs()).into()
            }
            RecvTimeoutError::Disconnected => format!("the {} actor ended", self.language.name()).into(),
        })
    }

    /// The next line that begins with `word`; others are what a server says on the way.
    pub(crate) fn hear_word(&self, word: &str, limit: Duration) -> Result<Order, Box<dyn Error>> {
        loop {
            let said = self.hear(limit)?;
            if said.word == "failed" || said.word == "trouble" {
                return Err(said.to_string().into());
            }
            if said.word == word {
                return Ok(said);
            }
        }
    }

    pub(crate) fn ask(&mut self, order: &Order, limit: Duration) -> Result<Order, Box<dyn Error>> {
        self.tell(order)?;
        self.hear(limit)
    }

    /// Kills it; `bury` waits for its end.
    pub(crate) fn kill(&self) {
        // Fails only for one that is gone already: an actor that killed itself keeps its number until it is buried, or
        // has no child here to be mistaken for.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Waits for the end of an actor that was killed, or killed itself.
    pub(crate) fn bury(mut self) {
        self.end();
    }

    /// As `bury`, and has the child that it left behind, if it is not 0, see the end of its input and end, too.
    pub(crate) fn bury_with_child(mut self, child: u64) {
        self.end();
        if let Ok(pid @ 1..) = i32::try_from(child) {
            wait_for(Pid::from_raw(pid));
        }
    }

    fn end(&mut self) {
        if self.stdin.take().is_some() {
            self.kill();
            wait_for(self.pid);
            drop(self.child.take());
        }
    }
}

/// Waits until a process is gone: a child, a tracee, a child of a child that was handed over, or somebody else's.
fn wait_for(pid: Pid) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {}
            Err(_) if kill(pid, None).is_err() => return,
            _ => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.end();
    }
}
