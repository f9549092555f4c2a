//! The reaper: a thread that closes descriptors that a peer passed.
//!
//! The maker of a descriptor can delay its close for any time: a TCP socket lingers, and a file of a user's file system
//! (FUSE) waits for that user. So a thread with other work never closes a descriptor of unknown kind. The reaper starts
//! with the first such descriptor.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::thread;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// Most descriptors that may wait to be closed.
pub(crate) const MAX_HELD: usize = 64;

const STACK: usize = 64 << 10;

/// The number of descriptors that wait to be closed, and the process that holds them: a forked child has no reaper for
/// its copies.
static HELD: AtomicUsize = AtomicUsize::new(0);
static HOLDER: AtomicU32 = AtomicU32::new(0);

/// The channel to the reaper, and the process in which the reaper runs: a forked child has none.
static THREAD: Mutex<Option<(u32, Sender<OwnedFd>)>> = Mutex::new(None);

/// Whether [`MAX_HELD`] descriptors wait to be closed, so that no more may come in.
pub(crate) fn is_full() -> bool {
    held().load(Ordering::Relaxed) >= MAX_HELD
}

/// The count of this process, reset after a fork.
fn held() -> &'static AtomicUsize {
    let pid = std::process::id();
    if HOLDER.load(Ordering::Relaxed) != pid && HOLDER.swap(pid, Ordering::Relaxed) != pid {
        HELD.store(0, Ordering::Relaxed);
    }
    &HELD
}

/// Lets the reaper close a descriptor.
pub(crate) fn close(descriptor: OwnedFd) {
    held().fetch_add(1, Ordering::Relaxed);
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    let unsent = match &*thread {
        Some((owner, sender)) if *owner == pid => sender.send(descriptor).map_err(|unsent| unsent.0),
        _ => Err(descriptor),
    };
    let Err(descriptor) = unsent else { return };
    let (sender, receiver) = channel();
    match thread::spawn("tachyon-reaper", STACK, move || run(&receiver)) {
        Ok(_detached) => {
            // The receiver lives as long as the sender that is stored here.
            drop(sender.send(descriptor));
            *thread = Some((pid, sender));
        }
        // Left open, and counted: a leak is better than a wait for the descriptor's maker.
        Err(_) => std::mem::forget(descriptor),
    }
}

fn run(descriptors: &Receiver<OwnedFd>) {
    for descriptor in descriptors {
        drop(descriptor);
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_that_is_handed_over_is_closed() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        close(theirs.into());
        assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0, "the end of the other one");
    }
}
