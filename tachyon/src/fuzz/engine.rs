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
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_END, ROUTE_ITEM, make_type_id};
use crate::wait::Deadline;

/// The driver's tag of a call: counts how often the call has ended.
type Ends = Rc<Cell<u32>>;

/// Every call and every stream ends exactly once, by its reply or last message or because its driver gives up, and
/// leaves nothing behind. The payload of a reply, and of an item, is readable. The windows fit the ring.
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
                    let type_id = match step >> 5 {
                        0 | 1 => 1,
                        2 | 3 => make_type_id(ROUTE_ITEM, 1),
                        4 => make_type_id(ROUTE_END, 1),
                        _ => make_type_id(u16::from(step >> 4), MSG_TYPE_ERROR),
                    };
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
                8 if step >> 4 < 4 => {
                    if let Some(id) = open(&mut core, u32::from(step >> 4)) {
                        assert!(calls.insert(id, Ends::default()).is_none(), "an id that meant another call");
                    }
                }
                8 if step >> 4 < 8 => {
                    let id = hostile.input.near(sent);
                    match core.try_send_item(id, &[step; 8]) {
                        Ok(_) | Err(_) => drop(core.try_send_end(id)),
                    }
                }
                8 => {
                    for id in core.calls.take_news() {
                        core.grant(id);
                        while let Some(item) = core.take_arrived(id) {
                            assert!(item.payload.len() <= CAPACITY);
                        }
                        if core.take_stream_outcome(id).is_some() {
                            ended(&calls[&id]);
                        }
                    }
                }
                9 | 10 => {
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
            assert!(core.calls.cells().windows() <= hostile.rings[1].geometry().slots() as u64);
        }
        let streams: Vec<_> = calls.keys().copied().filter(|id| core.calls.stream(*id).is_some()).collect();
        for id in streams {
            ended(&calls[&id]);
        }
        for tag in core.end_all(false) {
            ended(&tag);
        }
        for (id, ends) in &calls {
            assert_eq!((ends.get(), Rc::strong_count(ends)), (1, 1), "call {id}");
        }
    });
}

/// Opens a stream if there are a cell and room.
fn open(core: &mut CallerCore<Ends>, window: u32) -> Option<u64> {
    let (route, window) = core.open_route(Some(window))?;
    let type_id = make_type_id(route, 1);
    let header = core.header(type_id, Deadline::never());
    let was_sent = core.tx.try_send(&[], header).unwrap_or(false);
    was_sent.then(|| core.opened(type_id, Deadline::never(), window))
}
