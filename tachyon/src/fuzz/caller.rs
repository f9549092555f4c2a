//! The caller, over rings of a callee that sends any reply.

use std::sync::Arc;
use std::time::Duration;

use super::hostile::{CAPACITY, Hostile, attack};
use super::pair::Pair;
use crate::handshake::Role;
use crate::ring::{Consumer, MessageHeader, Producer};
use crate::rpc::{CallError, Caller};
use crate::tachyon_rpc;
use crate::type_id::{ROUTE_CONTROL, ROUTE_END, ROUTE_ITEM, make_type_id};

const AT_ONCE: Duration = Duration::ZERO;

#[tachyon_rpc(msg_type = 1, crate = crate)]
fn number(number: u64) -> u64 {
    number
}

#[tachyon_rpc(msg_type = 2, crate = crate)]
fn flags(numbers: &[u16]) -> Vec<bool> {
    numbers.iter().map(|number| *number != 0).collect()
}

/// Replies with a list, which the caller copies and checks, or with the text of an error.
#[tachyon_rpc(msg_type = 3, crate = crate)]
fn words(text: &str, most: u32) -> Result<Vec<String>, String> {
    if most == 0 {
        return Err("none were asked for".to_owned());
    }
    Ok(text.split(' ').take(most as usize).map(str::to_owned).collect())
}

/// Calls and streams by number and by type, finished in any order, while the callee answers, floods, lies and
/// overwrites the rings.
///
/// No call waits, payloads have a valid length, error texts are UTF-8, and the number of outstanding calls is right.
#[allow(clippy::too_many_lines, reason = "one arm for each step of the fuzzer")]
pub fn caller(data: &[u8]) {
    attack(data, 2, |hostile| {
        let mut pair = Pair::new(hostile, Role::Source);
        let mut caller = Caller::over(&pair.ours);
        let mut requests = Consumer::new(Arc::clone(&hostile.rings[0]));
        let mut replies = Producer::new(Arc::clone(&hostile.rings[1]));
        let mut sent: u64 = 0;
        while let Some(step) = hostile.input.next() {
            hostile.focus[0].set(hostile.rings[0].start().wrapping_add(sent));
            hostile.focus[1].set(replies.position());
            let outcome = match step & 15 {
                0 => {
                    hostile.strike();
                    Ok(())
                }
                1..=4 => {
                    let len = usize::from(hostile.input.byte());
                    let correlation_id = hostile.input.near(sent);
                    let type_id = match step >> 5 {
                        0 => make_type_id(ROUTE_CONTROL, 1),
                        1 => u32::from(hostile.input.byte()),
                        2 => make_type_id(u16::from(hostile.input.byte()), u16::MAX),
                        3 | 4 => make_type_id(ROUTE_ITEM, 1),
                        5 => make_type_id(ROUTE_END, 1),
                        _ => hostile.input.word(),
                    };
                    let header = MessageHeader::due(type_id, correlation_id, type_id);
                    let _ = replies.push_slow(hostile.input.slice(len), header);
                    Ok(())
                }
                5 => {
                    while let Ok(Some(frame)) = requests.try_take() {
                        let _ = requests.release(frame.position);
                    }
                    Ok(())
                }
                6 | 7 => {
                    pair.ring();
                    let len = usize::from(hostile.input.short()) % (CAPACITY + 2);
                    caller.start(u16::from(step), &[step; CAPACITY + 1][..len]).map(|id| sent = id)
                }
                8 => {
                    pair.ring();
                    caller.start_timeout(u16::from(step), &[step; 16], AT_ONCE).map(|id| sent = id)
                }
                9 => {
                    pair.ring();
                    let len = usize::from(hostile.input.byte());
                    let actual = usize::from(hostile.input.byte());
                    caller.reserve_call(3, len).map(|mut guard| {
                        hostile.strike();
                        guard.fill(step);
                        if let Ok(id) = guard.commit(actual) {
                            sent = id;
                        }
                    })
                }
                10 => {
                    let id = hostile.input.near(sent);
                    caller.try_finish(id).map(|found| {
                        if let Some(reply) = found {
                            hostile.strike();
                            look(&reply);
                            look_at_error(reply.error());
                        }
                    })
                }
                11 => {
                    pair.ring();
                    let id = hostile.input.near(sent);
                    caller.finish_timeout(id, AT_ONCE).map(|reply| {
                        assert_eq!(reply.correlation_id(), id);
                        look(&reply);
                        look_at_error(reply.error());
                    })
                }
                12 => {
                    let id = hostile.input.near(sent);
                    let outstanding = caller.outstanding();
                    let forgotten = caller.forget(id);
                    assert_eq!(caller.outstanding(), outstanding - usize::from(forgotten));
                    Ok(())
                }
                // Each of these calls takes a correlation id if it is sent, answered or not.
                13 => {
                    pair.ring();
                    let outcome = caller.call_timeout(1, &[step], AT_ONCE).map(|reply| look(&reply));
                    sent = caller.core.calls.next() - 1;
                    outcome
                }
                14 => {
                    pair.ring();
                    let outcome = match step >> 4 {
                        0..4 => caller.describe_timeout(AT_ONCE).map(|description| {
                            core::hint::black_box(description.to_json());
                        }),
                        4..6 => number::call(&mut caller.within(AT_ONCE), 7).map(|reply| {
                            core::hint::black_box(reply);
                        }),
                        6..9 => flags::call_in_place(&mut caller.within(AT_ONCE), &[1]).map(|reply| {
                            assert!(reply.get().iter().all(|flag| u8::from(*flag) < 2));
                        }),
                        9..12 => words::call(&mut caller.within(AT_ONCE).metadata("a", "b"), "a b", 2).map(|reply| {
                            assert!(reply.iter().all(|word| str::from_utf8(word.as_bytes()).is_ok()));
                        }),
                        _ => caller.ping(AT_ONCE).map(drop),
                    };
                    sent = caller.core.calls.next() - 1;
                    outcome
                }
                _ if step == 255 => {
                    pair.die();
                    Ok(())
                }
                _ if step == 239 => {
                    pair.say(hostile.input.slice(usize::from(hostile.input.byte())));
                    Ok(())
                }
                _ => {
                    pair.ring();
                    let outcome = streams(hostile, &mut caller, step >> 4, sent);
                    sent = caller.core.calls.next() - 1;
                    outcome
                }
            };
            assert!(caller.outstanding() as u64 <= sent);
            if let Err(CallError::Forked | CallError::Io(_) | CallError::Reconnect(_) | CallError::ReservedMsgType) =
                outcome
            {
                panic!("no peer can bring that about: {outcome:?}");
            }
        }
    });
}

/// A step of a stream near the last call.
fn streams(hostile: &Hostile<'_>, caller: &mut Caller, step: u8, sent: u64) -> Result<(), CallError> {
    let id = hostile.input.near(sent);
    match step {
        0..4 => caller.within(AT_ONCE).window(u32::from(step)).open(1, &[step]).map(drop),
        4..7 => caller.try_next_item(id).map(|item| {
            hostile.strike();
            if let Some(item) = item {
                look(&item);
            }
        }),
        7 | 8 => caller.next_item_timeout(id, AT_ONCE).map(|item| {
            hostile.strike();
            if let Some(item) = item {
                look(&item);
            }
        }),
        9..12 => {
            let len = usize::from(hostile.input.byte());
            caller.send_item(id, &[step; 256][..len]).map(drop)
        }
        12 => caller.end_items(id),
        _ => {
            let _ = caller.state();
            Ok(())
        }
    }
}

fn look(payload: &[u8]) {
    assert!(payload.len() <= CAPACITY);
    core::hint::black_box(payload.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
}

fn look_at_error(error: Option<crate::engine::RpcError>) {
    if let Some(error) = error {
        assert!(core::str::from_utf8(error.text.as_bytes()).is_ok());
        core::hint::black_box(error.to_string());
    }
}
