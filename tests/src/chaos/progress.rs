//! The progress of an actor: the actor notes it in a file, and kills itself at an ordered point.
#![allow(unsafe_code, reason = "forks")]

use std::io;
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};

use super::now;
use super::order::Order;
use super::progress_file::{Field, ProgressFile};

/// The file with an actor's progress, and the point where the actor dies.
#[derive(Debug, Clone)]
pub struct Progress {
    file: Option<Arc<ProgressFile>>,
    point: String,
    at: u64,
    stops: bool,
}

impl Progress {
    /// Reads `ledger=PATH die=POINT at=NUMBER how=kill|stop`. Each may be missing.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn new(order: &Order) -> io::Result<Self> {
        let file = match order.text("ledger") {
            "" => None,
            path => Some(Arc::new(ProgressFile::open(path.as_ref())?)),
        };
        let point = order.text("die").to_owned();
        Ok(Self { file, point, at: order.get_or("at", 0), stops: order.text("how") == "stop" })
    }

    /// Raises a value in the file, if there is one.
    pub fn note(&self, field: Field, value: u64) {
        if let Some(file) = &self.file {
            file.raise(field, value);
        }
    }

    /// Kills the process, or stops it so that the driver kills it, if the order names this point and this number.
    ///
    /// # Panics
    /// When the process may not signal itself.
    pub fn pass(&self, point: &str, number: u64) {
        if point != self.point || number != self.at {
            return;
        }
        let signal = if self.stops {
            self.note(Field::Stopping, 1);
            Signal::STOP
        } else {
            self.note(Field::DiedAt, now());
            Signal::KILL
        };
        kill_process(getpid(), signal).expect("a process may signal itself");
    }

    /// Forks a child that keeps every open descriptor until standard input ends.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn leave_child(&self) -> io::Result<()> {
        // SAFETY: an actor has one thread at this point, and the child makes system calls only.
        let child = unsafe { libc::fork() };
        match u64::try_from(child) {
            Err(_) => Err(io::Error::last_os_error()),
            Ok(0) => {
                let mut byte = [0_u8];
                // SAFETY: `byte` is one writable byte.
                while unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) } > 0 {}
                // SAFETY: ends the child, without the exit handlers of the parent.
                unsafe { libc::_exit(0) }
            }
            Ok(child) => {
                self.note(Field::Child, child);
                Ok(())
            }
        }
    }
}
