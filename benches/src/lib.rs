//! What Tachyon costs, measured: each program in `src/bin` answers one question and says how.
//!
//! [`Round`], [`Report`] and the `drive_` functions are what every program measured by `make bench` has in common,
//! Tachyon's and its peers': how a round is ordered, how its calls are timed, and that a process that has no round is
//! blocked in a read and takes no core from those that have one. See `docs/internals/benchmarks.md` for the method.

mod drive;
mod floor;
mod round;
mod shared;
mod timing;

pub use drive::{
    Answerer, Asker, Outcome, Sink, Source, drive_answers, drive_asks, drive_sink, drive_source, receive, send,
};
pub use floor::Bouncer;
pub use round::{Kind, Report, Round, ready, rounds, tell};
pub use shared::Shared;
pub use timing::{Clock, median};
