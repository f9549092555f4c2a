//! The caller's core and the open streams of a callee, neither of which waits.

#[path = "../../../tachyon/src/engine/callee_streams.rs"]
mod callee_streams;
#[path = "../../../tachyon/src/engine/caller.rs"]
mod caller;
#[path = "../../../tachyon/src/engine/caller_stream.rs"]
mod caller_stream;
#[path = "../../../tachyon/src/engine/calls.rs"]
mod calls;
#[path = "../../../tachyon/src/engine/credit.rs"]
mod credit;
#[path = "../../../tachyon/src/engine/verified.rs"]
mod verified;

pub(crate) use callee_streams::{CalleeStreams, Stepped, StreamBody, StreamEnd, StreamStep, is_open};
pub(crate) use caller::{CallerCore, ItemSent, Reply};
pub(crate) use credit::{SendCredit, Window};
