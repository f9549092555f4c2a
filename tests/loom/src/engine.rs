//! The caller's core, which never waits.

#[path = "../../../tachyon/src/engine/caller.rs"]
mod caller;
#[path = "../../../tachyon/src/engine/calls.rs"]
mod calls;
#[path = "../../../tachyon/src/engine/verified.rs"]
mod verified;

pub(crate) use caller::{CallerCore, Reply};
