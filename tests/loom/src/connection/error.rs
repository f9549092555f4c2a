//! The library's internal errors, without the public errors.

use std::io;

use crate::ring::Fault;

#[derive(Debug)]
pub(crate) enum Halt {
    TimedOut,
    Interrupted,
    Closed,
    ClosedHere,
    PeerDead,
    FatalError(Fault),
    Forked,
    Io(io::Error),
}

#[derive(Debug)]
pub(crate) enum Unsent {
    TooLarge { size: usize, max: usize },
    Halted(Halt),
}

impl From<Halt> for Unsent {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

#[derive(Debug)]
pub(crate) struct WrongDirection {
    pub(crate) taken: &'static str,
}
