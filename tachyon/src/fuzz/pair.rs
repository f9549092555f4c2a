//! A connection of which one side is the fuzzer's.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::hostile::Hostile;
use crate::bus::{Channel, Established};
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Doorbell, Peer, PollingMode};

/// Our side, over rings that a hostile peer has too, and what that peer holds.
pub(crate) struct Pair {
    pub(crate) ours: Established,
    /// Per ring the peer's ends of the doorbells, data and room.
    bells: Vec<[Doorbell; 2]>,
    /// The peer's end of the handshake's socket, as long as it lives.
    socket: Option<OwnedFd>,
}

/// Bells of the most rings that a target has: two connections of two, with two bells each.
const BELLS_AT_ONCE: usize = 8;

thread_local! {
    /// Bells of earlier pairs, both ends of each.
    static BELLS: RefCell<Vec<(Doorbell, Doorbell)>> = const { RefCell::new(Vec::new()) };
    /// Whether any of them may still ring.
    static RUNG: Cell<bool> = const { Cell::new(false) };
}

impl Pair {
    /// Waits of our side end at once: it parks, is woken by its own interrupt hook, and has no time.
    pub(crate) fn new(hostile: &Hostile<'_>, role: Role) -> Self {
        silence();
        let (socket, theirs) = sockets();
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
    pub(crate) fn ring(&self) {
        RUNG.set(true);
        for bell in self.bells.iter().flatten() {
            bell.ring();
        }
    }

    /// The peer is gone without a word.
    pub(crate) fn die(&mut self) {
        self.socket = None;
    }
}

/// Both ends of an RPC connection of which no side is the fuzzer's, over `rings`: the callee's, and the caller's.
pub(crate) fn linked(rings: &[Arc<RingMemory>], options: &Options) -> [Established; 2] {
    silence();
    // Either side rings when it likes.
    RUNG.set(true);
    let (socket, other_socket) = sockets();
    let (ours, theirs) = rings
        .iter()
        .map(|memory| {
            let ((data, their_data), (room, their_room)) = (bell(), bell());
            let channel = |data, room| Channel { memory: Arc::clone(memory), data, room };
            (channel(data, room), channel(their_data, their_room))
        })
        .unzip();
    let over = |side, role, socket, channels| {
        Established::over(side, role, Peer::new(socket, None, None, 0), channels, options)
    };
    [over(Side::Listener, Role::Sink, socket, ours), over(Side::Connector, Role::Source, other_socket, theirs)]
}

/// What a handshake leaves to tell each side of the other's end.
fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}

/// Both ends of a doorbell, ours first. They are copies of descriptors that are used again, since making a pair costs
/// more than a target does.
fn bell() -> (Doorbell, Doorbell) {
    BELLS.with_borrow_mut(|bells| {
        while bells.len() < BELLS_AT_ONCE {
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
            let bells: Vec<&Doorbell> = bells.iter().flat_map(|(ours, theirs)| [ours, theirs]).collect();
            while drain_ringing(&bells) {}
        });
    }
}

/// Drains each bell that rings once; false when none does.
fn drain_ringing(bells: &[&Doorbell]) -> bool {
    let mut fds: Vec<_> = bells.iter().map(|bell| PollFd::new(*bell, PollFlags::IN)).collect();
    let ringing = poll(&mut fds, Some(&Timespec::default())).expect("descriptors of ours");
    for (bell, fd) in bells.iter().zip(&fds) {
        if !fd.revents().is_empty() {
            bell.drain();
        }
    }
    ringing > 0
}
