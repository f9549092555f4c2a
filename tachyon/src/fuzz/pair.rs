//! A connection of which one side is the fuzzer's.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::hostile::Hostile;
use crate::bus::{Channel, Established};
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Doorbell, Peer, PollingMode};

/// Our side, over rings that a hostile peer has too, and what that peer holds.
pub(super) struct Pair {
    pub(super) ours: Established,
    /// Per ring the peer's ends of the doorbells, data and room.
    bells: Vec<[Doorbell; 2]>,
    /// The peer's end of the handshake's socket, as long as it lives.
    socket: Option<OwnedFd>,
}

thread_local! {
    /// Bells of earlier pairs, both ends of each.
    static BELLS: RefCell<Vec<(Doorbell, Doorbell)>> = const { RefCell::new(Vec::new()) };
    /// Whether any of them may still ring.
    static RUNG: Cell<bool> = const { Cell::new(false) };
}

impl Pair {
    /// Waits of our side end at once: it parks, is woken by its own interrupt hook, and has no time.
    pub(super) fn new(hostile: &Hostile<'_>, role: Role) -> Self {
        silence();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket");
        let mut bells = Vec::new();
        let channel = |memory: &Arc<RingMemory>| {
            let ((data, their_data), (room, their_room)) = (bell(), bell());
            bells.push([their_data, their_room]);
            Channel { memory: Arc::clone(memory), data, room }
        };
        let channels = hostile.rings.iter().map(channel).collect();
        let options = Options::new().polling(PollingMode::Park).interrupt(|| true);
        let peer = Peer::new(socket, None, None, 0);
        Self { ours: Established::over(Side::Listener, role, peer, channels, &options), bells, socket: Some(theirs) }
    }

    /// The peer rings every bell of ours, so that no wait sleeps for as long as an interrupt takes.
    pub(super) fn ring(&self) {
        RUNG.set(true);
        for bell in self.bells.iter().flatten() {
            bell.ring();
        }
    }

    /// The peer is gone without a word.
    pub(super) fn die(&mut self) {
        self.socket = None;
    }
}

/// Both ends of a doorbell, ours first. They are copies of descriptors that are used again, since making a pair costs
/// more than a target does.
fn bell() -> (Doorbell, Doorbell) {
    BELLS.with_borrow_mut(|bells| {
        if bells.len() < 4 {
            bells.push(Doorbell::pair().expect("a doorbell"));
        }
        bells.rotate_left(1);
        let (ours, theirs) = &bells[0];
        (ours.copy().expect("a descriptor"), theirs.copy().expect("a descriptor"))
    })
}

/// Drains every bell, if the pair before this one rang them.
fn silence() {
    if RUNG.replace(false) {
        BELLS.with_borrow(|bells| {
            for (ours, _) in bells {
                while poll_rings(ours) {
                    ours.drain();
                }
            }
        });
    }
}

fn poll_rings(bell: &Doorbell) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&Timespec::default())) == Ok(1)
}
