//! The engine: what the ends of a connection do without a clock, a thread or a sleep. Drivers wait for them.

mod caller;
mod calls;
mod verified;

pub(crate) use caller::{CallerCore, Reply, file};
pub(crate) use calls::{Arrived, Calls, Standing};
