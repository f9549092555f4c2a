//! Measurements of Tachyon: each program in `src/bin` answers one question, and its header describes the method.
//!
//! All programs that `make bench` measures, Tachyon's and those of its peers, share [`Round`], [`Report`] and the
//! `drive_` functions, which order a round and time its calls. A process without a round is blocked in a read, and
//! takes no core from the others. `docs/internals/benchmarks.md` describes the method.

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
