//! The two ends of a one-way bus.

use std::sync::Arc;
use std::time::Duration;

use super::hostile::{CAPACITY, Hostile, attack};
use super::pair::Pair;
use crate::bus::{Receiver, RecvError, SendError, Sender};
use crate::connection::State;
use crate::handshake::Role;
use crate::ring::{Consumer, MessageHeader, Producer};

const AT_ONCE: Duration = Duration::ZERO;

/// A receiver over hostile memory: single messages and batches, while the peer continues to write.
///
/// Payloads lie in the ring, no call waits, and after a fault the state of the bus is `FatalError`.
pub fn receiver(data: &[u8]) {
    attack(data, 1, |hostile| {
        let mut pair = Pair::new(hostile, Role::Sink);
        let mut receiver = Receiver::over(&pair.ours);
        let mut peer = Producer::new(Arc::clone(&hostile.rings[0]));
        while let Some(step) = hostile.input.next() {
            let outcome = match step & 7 {
                0 | 1 => {
                    hostile.strike();
                    Ok(())
                }
                2 | 3 => {
                    hostile.focus[0].set(peer.position());
                    let len = usize::from(hostile.input.short()) % (CAPACITY + 1);
                    let _ = peer.push_slow(&[step; CAPACITY][..len], MessageHeader::new(hostile.input.word(), 0));
                    Ok(())
                }
                4 => receiver.try_recv().map(|found| {
                    if let Some(guard) = found {
                        hostile.strike();
                        look(hostile, &guard);
                    }
                }),
                5 => {
                    pair.ring();
                    receiver.recv_timeout(AT_ONCE).map(|guard| {
                        look(hostile, &guard);
                        assert_eq!(guard.to_message().data.len(), guard.len());
                    })
                }
                6 => {
                    pair.ring();
                    let max = usize::from(hostile.input.byte()).max(1);
                    receiver.recv_batch_timeout(max, AT_ONCE).map(|batch| {
                        hostile.strike();
                        assert!(batch.len() <= max);
                        for view in &batch {
                            look(hostile, &view);
                        }
                        assert!(batch.get(batch.len()).is_none());
                    })
                }
                _ if step == 255 => {
                    pair.die();
                    Ok(())
                }
                _ if step == 247 => {
                    pair.say(hostile.input.slice(usize::from(hostile.input.byte())));
                    Ok(())
                }
                _ => {
                    let _ = receiver.state();
                    Ok(())
                }
            };
            match outcome {
                // `ClosedHere`: the peer may set this side's bit in the state.
                Ok(())
                | Err(
                    RecvError::TimedOut
                    | RecvError::Interrupted
                    | RecvError::Closed
                    | RecvError::PeerDead
                    | RecvError::ClosedHere,
                ) => {}
                Err(RecvError::FatalError(_)) => {
                    // A fuzzing peer may overwrite the state afterwards.
                    #[cfg(not(fuzzing))]
                    assert_eq!(receiver.state(), State::FatalError);
                    #[cfg(fuzzing)]
                    let _ = State::FatalError;
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
}

fn look(hostile: &Hostile<'_>, payload: &[u8]) {
    assert!(payload.len() <= CAPACITY && hostile.holds(0, payload.as_ptr(), payload.len()));
    core::hint::black_box(payload.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
}

/// A sender over hostile memory: copies, and reservations that are written in place.
///
/// Reservations lie in the ring, and no call waits.
pub fn sender(data: &[u8]) {
    attack(data, 1, |hostile| {
        let mut pair = Pair::new(hostile, Role::Source);
        let mut sender = Sender::over(&pair.ours);
        let mut peer = Consumer::new(Arc::clone(&hostile.rings[0]));
        while let Some(step) = hostile.input.next() {
            hostile.focus[0].set(hostile.rings[0].start().wrapping_add(peer.taken()));
            let len = usize::from(hostile.input.short()) % (CAPACITY + 2);
            let outcome = match step & 7 {
                0 | 1 => {
                    hostile.strike();
                    Ok(())
                }
                2 => sender.try_send(&[step; CAPACITY + 1][..len], 0),
                3 => {
                    pair.ring();
                    sender.send_timeout(&[step; CAPACITY + 1][..len], u32::MAX, AT_ONCE)
                }
                4 | 5 => {
                    pair.ring();
                    sender.reserve_timeout(len, 1, AT_ONCE).map(|mut guard| {
                        assert!(guard.len() == len && hostile.holds(0, guard.as_ptr(), len));
                        hostile.strike();
                        guard.fill(step);
                        guard.set_type_id(u32::from(step));
                        let actual = usize::from(hostile.input.byte());
                        if step & 16 == 0 {
                            assert_eq!(guard.commit(actual).is_err(), actual > len);
                        }
                    })
                }
                6 => {
                    if let Ok(Some(frame)) = peer.try_take() {
                        let _ = peer.release(frame.position);
                    }
                    Ok(())
                }
                _ if step == 255 => {
                    pair.die();
                    Ok(())
                }
                _ if step == 247 => {
                    pair.say(hostile.input.slice(usize::from(hostile.input.byte())));
                    Ok(())
                }
                _ => {
                    let _ = sender.state();
                    Ok(())
                }
            };
            match outcome {
                Err(SendError::TooLarge { size, max }) => assert!(size == len && max == CAPACITY && len > max),
                Err(other @ (SendError::Forked | SendError::Io(_))) => panic!("{other}"),
                Ok(()) | Err(_) => {}
            }
        }
    });
}
