//! A caller's core, driven in any order of steps, over rings of a callee that sends any reply.

use core::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::hostile::{CAPACITY, attack};
use super::pair::Pair;
use crate::connection::slice;
use crate::engine::{CallerCore, Reply};
use crate::handshake::Role;
use crate::ring::{Consumer, MessageHeader, Producer};
use crate::type_id::{MSG_TYPE_ERROR, make_type_id};
use crate::wait::Deadline;

/// The driver's tag of a call: counts how often the call has ended.
type Ends = Rc<Cell<u32>>;

/// Every call ends exactly once, by its reply or because its driver gives up, and leaves nothing behind. The payload of
/// a reply is readable.
pub fn engine(data: &[u8]) {
    attack(data, 2, |hostile| {
        let mut pair = Pair::new(hostile, Role::Source);
        let mut core = CallerCore::over(&pair.ours);
        let mut requests = Consumer::new(Arc::clone(&hostile.rings[0]));
        let mut replies = Producer::new(Arc::clone(&hostile.rings[1]));
        let mut calls: HashMap<u64, Ends> = HashMap::new();
        let ended = |ends: &Ends| ends.set(ends.get() + 1);
        while let Some(step) = hostile.input.next() {
            let sent = core.calls.next() - 1;
            hostile.focus[0].set(hostile.rings[0].start().wrapping_add(sent));
            hostile.focus[1].set(replies.position());
            match step & 15 {
                0 => hostile.strike(),
                1..=3 => {
                    let id = hostile.input.near(sent);
                    let type_id = if step >> 7 == 0 { 1 } else { make_type_id(u16::from(step), MSG_TYPE_ERROR) };
                    let len = usize::from(hostile.input.byte());
                    let _ = replies.push_slow(hostile.input.slice(len), MessageHeader::new(type_id, id));
                }
                4 => {
                    while let Ok(Some(frame)) = requests.try_take() {
                        let _ = requests.release(frame.position);
                    }
                }
                5..=7 => {
                    let len = usize::from(hostile.input.short()) % (CAPACITY + 2);
                    let ends = Ends::default();
                    let payload = &[step; CAPACITY + 1][..len];
                    if let Ok(Ok(id)) = core.try_send(1, payload, Deadline::never(), Rc::clone(&ends)) {
                        assert!(calls.insert(id, ends).is_none(), "an id that meant another call");
                    }
                }
                8..=10 => {
                    if let Ok(Some(Reply { tag, frame })) = core.next() {
                        assert!(Rc::ptr_eq(&tag, &calls[&frame.correlation_id]), "the reply to another call");
                        ended(&tag);
                        hostile.strike();
                        let payload = slice::payload(&frame, &core.rx);
                        core::hint::black_box(payload.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
                        core.rx.release(frame.position);
                    }
                }
                11 | 12 => {
                    let id = hostile.input.near(sent);
                    if core.end(id, step >> 7 == 0) {
                        ended(&calls[&id]);
                    }
                }
                13 => {
                    pair.ring();
                    core.arm((step >> 4 != 0).then_some(usize::from(step >> 4)));
                    drop(core.hear());
                    core.disarm();
                }
                14 if step == 254 => pair.die(),
                14 => pair.say(hostile.input.slice(usize::from(hostile.input.byte() & 15))),
                _ => drop(core.flush_cancellations()),
            }
            let under_way = calls.values().filter(|ends| ends.get() == 0).count();
            assert_eq!(core.calls.len(), under_way);
        }
        for tag in core.end_all(false) {
            ended(&tag);
        }
        for (id, ends) in &calls {
            assert_eq!((ends.get(), Rc::strong_count(ends)), (1, 1), "call {id}");
        }
    });
}
