//! The machines of RPC that never wait: drivers give them turns, and wait where they have to.

mod callee;
mod caller_info;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use callee::{CalleeCore, Handled, Pass, Service, Why, serve_loan, serve_one};
pub use caller_info::CallerInfo;
pub(crate) use watch::Watch;
