//! The system call that parking is.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::HUNG_UP;
use crate::wait::{Deadline, Peer, Source};

/// Sleeps until a bell of `sources` rings or the peer hangs up. Time does not pass in a model, so nothing else ends it:
/// a wake-up that is lost leaves every thread asleep, which loom reports.
#[allow(clippy::unnecessary_wraps, reason = "the library's signature")]
pub(crate) fn sleep(
    deadline: Deadline,
    _limit: Option<Duration>,
    peer: &Peer,
    sources: &[Source<'_>],
) -> io::Result<()> {
    assert_eq!(deadline, Deadline::never(), "there is no clock in a model");
    let bells = sources.iter().fold(0, |bells, source| bells | source.bell.bit);
    let kernel = &peer.ours;
    let found = loop {
        let found = kernel.look(bells | HUNG_UP);
        if found != 0 {
            break found;
        }
        kernel.changed.wait();
    };
    // The draining: what rings from here on is for the next sleep.
    kernel.readable.fetch_and(!bells, Ordering::Relaxed);
    if found & HUNG_UP != 0 {
        peer.mark_gone();
    }
    Ok(())
}
