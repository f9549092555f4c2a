//! The actors: processes in both languages that take orders.

use std::error::Error;
use std::ffi::OsStr;
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

/// Longest that an actor may take for an order.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The language of an actor.
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

/// Starts actors.
#[derive(Debug)]
pub(crate) struct Actors {
    rust: PathBuf,
    python: Option<ForkServer>,
    folder: PathBuf,
    started: u32,
}

/// A Python process that forks actors, since an interpreter takes long to start.
#[derive(Debug)]
struct ForkServer {
    child: Child,
    stdin: ChildStdin,
    said: Lines,
}

type Lines = Receiver<Order>;

/// The lines that `from` prints, from now on.
fn lines(from: impl Read + Send + 'static) -> Lines {
    let (said, lines) = channel();
    std::thread::spawn(move || {
        // Ends with the actor, or with the receiver.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if said.send(Order::read(&line)).is_err() {
                break;
            }
        }
    });
    lines
}

/// A command of an actor. Each thread of a stream would keep freed memory in its own arena of glibc, which looks like a
/// leak.
fn with_one_arena(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

impl Actors {
    /// `python` is the interpreter and the script of Python actors. Without it, all actors are Rust's.
    pub(crate) fn new(python: Option<(PathBuf, PathBuf)>, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let rust = std::env::current_exe()?.with_file_name("actor");
        if !rust.exists() {
            return Err(format!("{} is not built", rust.display()).into());
        }
        let python = match python {
            None => None,
            Some((interpreter, script)) => {
                let mut command = with_one_arena(interpreter);
                command.arg("-W").arg("error").arg(script).arg("breed");
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let stdin = child.stdin.take().ok_or("the input was piped")?;
                let said = lines(child.stdout.take().ok_or("the output was piped")?);
                Some(ForkServer { child, stdin, said })
            }
        };
        Ok(Self { rust, python, folder: folder.to_owned(), started: 0 })
    }

    pub(crate) fn languages(&self) -> &'static [Language] {
        if self.python.is_some() { &[Language::Rust, Language::Python] } else { &[Language::Rust] }
    }

    /// Starts an actor.
    pub(crate) fn start(&mut self, language: Language) -> Result<Actor, Box<dyn Error>> {
        match language {
            Language::Rust => {
                let mut command = with_one_arena(&self.rust);
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let stdin = child.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
                let said = lines(child.stdout.take().ok_or("the output was piped")?);
                let pid = Pid::from_raw(child.id().cast_signed());
                Ok(Actor { language, pid, child: Some(child), stdin, said })
            }
            Language::Python => {
                self.started += 1;
                let pipes = ["orders", "answers"].map(|name| self.folder.join(format!("{name}-{}", self.started)));
                for pipe in &pipes {
                    mkfifo(pipe, Mode::S_IRWXU)?;
                }
                let fork_server = self.python.as_mut().ok_or("no Python interpreter was named")?;
                writeln!(fork_server.stdin, "{} {}", pipes[0].display(), pipes[1].display())?;
                let forked = fork_server.said.recv_timeout(PATIENCE)?;
                // In the order in which the actor opens them, since each open waits for the other side.
                let stdin = Some(File::options().write(true).open(&pipes[0])?);
                let said = lines(File::open(&pipes[1])?);
                for pipe in &pipes {
                    std::fs::remove_file(pipe)?;
                }
                let pid = Pid::from_raw(forked.get("pid").ok_or("the fork server gave no process id")?);
                Ok(Actor { language, pid, child: None, stdin, said })
            }
        }
    }
}

/// The failure of one of `actors`, on account of which a victim may not have reached its point of death.
pub(crate) fn failure(actors: &[&Actor]) -> Option<Box<dyn Error>> {
    let told = actors.iter().filter_map(|actor| actor.answer(Duration::ZERO).ok());
    told.filter(|told| told.word == "failed").map(|told| told.to_string().into()).next()
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // Its children go on without it.
        drop((self.child.kill(), self.child.wait()));
    }
}

/// A running actor. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) language: Language,
    pid: Pid,
    /// The child process. A Python actor is the fork server's child.
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

    /// The next line of the actor, within `limit`.
    pub(crate) fn answer(&self, limit: Duration) -> Result<Order, Box<dyn Error>> {
        self.said.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                format!("the {} actor prints nothing for {} s: it hangs", self.language.name(), limit.as_secs()).into()
            }
            RecvTimeoutError::Disconnected => format!("the {} actor ended", self.language.name()).into(),
        })
    }

    /// The next line that begins with `word`. Skips other events of a server.
    pub(crate) fn answer_with_word(&self, word: &str, limit: Duration) -> Result<Order, Box<dyn Error>> {
        loop {
            let said = self.answer(limit)?;
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
        self.answer(limit)
    }

    /// Kills the actor. `reap` waits for its end.
    pub(crate) fn kill(&self) {
        // Fails only for an actor that is gone. The process id still belongs to the actor: its parent, this process or
        // the fork server, has not reaped it.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Waits for the end of an actor that was killed, or killed itself.
    pub(crate) fn reap(mut self) {
        self.end();
    }

    /// Waits also for the end of the child that the actor left behind, if `child` is not 0. The child ends with its
    /// input.
    pub(crate) fn reap_with_child(mut self, child: u64) {
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

/// Waits until a process is gone: a child, a tracee, an adopted grandchild, or a child of the fork server.
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
