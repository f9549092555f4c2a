//! The socket of a connection as its bell, with a peer that sends anything over the socket.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};

use super::hostile::attack_beside;
use super::input::Input;
use super::pair::sockets;
use crate::connection::{Established, Halt, Rx, State, Tx, Unsent};
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{Fault, MessageHeader, Side};
use crate::wait::{Deadline, Peer, PollingMode, Socket, monotonic_nanos, park_cost_bounds};

/// Most messages of one flood. A socket holds some 280.
const FLOOD: u16 = 400;

/// A connection over honest rings. Its peer floods the socket, fills the socket, hangs up, and sends rings of a wrong
/// length, times from the future, and descriptors, on a system that refuses descriptors and on a system that peeks.
///
/// No wait outlasts its deadline. Each message arrives once and in order, until the peer sends a message that is no
/// ring, which is a fault, or hangs up, which is none. The learnt cost of a park stays within its bounds.
pub fn bell(data: &[u8]) {
    attack_beside(data, 1, 2, |hostile| {
        let input = &hostile.input;
        let (ours, theirs) = sockets();
        let how = input.byte();
        let socket = if how & 1 == 0 { Socket::accepted(ours, false) } else { Socket::connecting(ours) };
        let (other, other_theirs) = sockets();
        let rings = hostile.beside.clone();
        let options = Options::new().polling(if how & 2 == 0 { PollingMode::Park } else { PollingMode::Adaptive });
        let end = |side, role, socket| {
            Established::over(side, role, Peer::new(socket, None, None, Some(0)), rings.clone(), &options)
        };
        let established = end(Side::Listener, Role::Sink, socket);
        // The honest half of the peer: it uses the rings correctly, and never the socket.
        let honest = end(Side::Connector, Role::Source, Socket::connecting(other));
        let (mut taken, mut answers) = (established.rx(0), established.tx(1));
        let (mut requests, mut replies) = (honest.tx(0), honest.rx(1));
        let mut peer = Hostile { socket: Some(theirs), foul: false, hung_up: false };
        let (mut sent, mut received) = (0u64, 0u64);
        while let Some(step) = input.next() {
            match step & 7 {
                0..=2 => peer.say(input, step >> 3),
                3 => {
                    let header = MessageHeader::new(step.into(), sent + 1);
                    if requests.try_send(&[step; 60][..usize::from(step) % 60], header).is_ok_and(|done| done) {
                        sent += 1;
                    }
                }
                4 => match taken.take(Deadline::after(Duration::ZERO)) {
                    Ok(frame) => {
                        received += 1;
                        assert_eq!(frame.correlation_id, received, "out of turn");
                        assert!(received <= sent, "a message that was not sent");
                        taken.release(frame.position);
                    }
                    Err(halt) => check(&halt, &peer, received == sent),
                },
                5 => wait_for_room(&mut answers, &peer, step),
                6 => drain(&mut replies),
                _ => {
                    let state = established.connection.state();
                    assert!(peer.foul || state != State::FatalError, "a fault without a cause");
                }
            }
            let (least, cost, most) = park_cost_bounds();
            assert!(least <= cost && cost <= most, "a park costs {cost} ns");
        }
        drop((taken, answers, other_theirs));
    });
}

/// Sends until the ring is full and the wait for room ends at once.
fn wait_for_room(answers: &mut Tx, peer: &Hostile, step: u8) {
    let header = MessageHeader::new(1, 1);
    for _ in 0..=answers.ring().geometry().slots() {
        match answers.send(&[step], header, Deadline::after(Duration::ZERO)) {
            Ok(()) => {}
            Err(Unsent::Halted(halt)) => return check(&halt, peer, true),
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("a ring without an end");
}

fn drain(replies: &mut Rx) {
    while let Ok(Some(frame)) = replies.try_take() {
        replies.release(frame.position);
    }
}

/// Checks that an end has a cause, and comes after all messages.
fn check(halt: &Halt, peer: &Hostile, all: bool) {
    match halt {
        Halt::TimedOut => {}
        Halt::FatalError(Fault::Socket { .. } | Fault::Reported) => assert!(peer.foul, "a fault without a cause"),
        // An empty message is read as a hang-up.
        Halt::PeerDead => assert!((peer.hung_up || peer.foul) && all, "an end without a cause, or too early"),
        Halt::ClosedHere => assert!(peer.foul || peer.hung_up),
        other => panic!("{other:?}"),
    }
}

/// The hostile half of the peer.
struct Hostile {
    socket: Option<OwnedFd>,
    /// Whether a message was sent that is no ring.
    foul: bool,
    hung_up: bool,
}

impl Hostile {
    fn say(&mut self, input: &Input<'_>, what: u8) {
        let Some(socket) = &self.socket else { return };
        match what & 15 {
            0..4 => self.send(&when(input).to_le_bytes(), &[]),
            4 | 5 => {
                for _ in 0..input.short() % FLOOD {
                    self.send(&when(input).to_le_bytes(), &[]);
                }
            }
            6 => {
                let len = usize::from(input.byte()) % 40;
                self.send(&[7; 40][..len], &[]);
                self.foul |= len != 8;
            }
            7 => {
                self.send(&[], &[]);
                (self.foul, self.hung_up) = (true, true);
            }
            8..12 => {
                let file = memfd_create(c"fuzz", MemfdFlags::CLOEXEC).expect("a memory file");
                let counter = eventfd(0, EventfdFlags::CLOEXEC).expect("a counter");
                let which = input.byte();
                let one = if which & 1 == 0 { file.as_fd() } else { counter.as_fd() };
                self.send(&[0; 8][..usize::from(which) % 9], &vec![one; usize::from(which) % 200 + 1]);
                self.foul = true;
            }
            12 | 13 => {
                let how = if what & 16 == 0 { Shutdown::Write } else { Shutdown::Both };
                let _ = shutdown(socket, how);
                self.hung_up = true;
            }
            _ => {
                self.socket = None;
                self.hung_up = true;
            }
        }
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
        // A full socket, a socket that was shut down, or a system that refuses the descriptors gives an error.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
    }
}

/// A time in nanoseconds: near the present, in the past or in the future.
fn when(input: &Input<'_>) -> u64 {
    input.near(monotonic_nanos())
}
