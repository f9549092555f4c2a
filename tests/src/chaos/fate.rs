//! How an actor is to end before its time, and where: at a point of its work that it passes by itself.
#![allow(unsafe_code, reason = "forks")]

use std::io;
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};

use super::ledger::{Ledger, Word};
use super::now;
use super::order::Order;

/// An actor's notes and its end.
#[derive(Debug, Clone)]
pub struct Fate {
    ledger: Option<Arc<Ledger>>,
    point: String,
    at: u64,
    stops: bool,
}

impl Fate {
    /// Reads `ledger=PATH die=POINT at=NUMBER how=kill|stop`, all of which may be missing.
    ///
    /// # Errors
    /// A ledger that cannot be opened.
    pub fn new(order: &Order) -> io::Result<Self> {
        let ledger = match order.text("ledger") {
            "" => None,
            path => Some(Arc::new(Ledger::open(path.as_ref())?)),
        };
        let point = order.text("die").to_owned();
        Ok(Self { ledger, point, at: order.get_or("at", 0), stops: order.text("how") == "stop" })
    }

    /// Notes how far the actor has come.
    pub fn note(&self, word: Word, value: u64) {
        if let Some(ledger) = &self.ledger {
            ledger.set(word, value);
        }
    }

    /// Dies, or stops and waits to be killed, if this is the point and the message for it.
    ///
    /// # Panics
    /// When a process may not signal itself.
    pub fn pass(&self, point: &str, number: u64) {
        if point != self.point || number != self.at {
            return;
        }
        let signal = if self.stops {
            self.note(Word::Stopping, 1);
            Signal::STOP
        } else {
            self.note(Word::DiedAt, now());
            Signal::KILL
        };
        kill_process(getpid(), signal).expect("a process may signal itself");
    }

    /// Has a forked child hold everything that is open now until standard input ends.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn leave_a_child(&self) -> io::Result<()> {
        // SAFETY: an actor has one thread at this point, and the child uses nothing but system calls.
        let child = unsafe { libc::fork() };
        match u64::try_from(child) {
            Err(_) => Err(io::Error::last_os_error()),
            Ok(0) => {
                let mut byte = [0_u8];
                // SAFETY: one byte may be written to.
                while unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) } > 0 {}
                // SAFETY: ends the child without running what is the parent's to run.
                unsafe { libc::_exit(0) }
            }
            Ok(child) => {
                self.note(Word::Child, child);
                Ok(())
            }
        }
    }
}
