//! Models of a caller's core with a minimal driver: read the socket, poll, arm, sleep.

use loom::thread;

use crate::connection::{Established, Rx, Tx};
use crate::engine::{CallerCore, ItemSent, Reply, Window};
use crate::handshake::connected_both_ways;
use crate::kernel::{Wakers, clock};
use crate::models::explore;
use crate::ring::MessageHeader;
use crate::type_id::{ROUTE_CANCEL, make_type_id, route_id};
use crate::wait::{Deadline, SECOND_LOOK};

/// A driver's sleep: the driver arms, sleeps until the second look, and then sleeps without a limit.
#[derive(Default)]
struct Sleep(Option<Option<u64>>);

impl Sleep {
    /// Takes the next step after a poll without a result: arms, or sleeps and reads the socket. Only the core polls
    /// between arming and sleeping.
    fn next<T>(&mut self, ours: &Established, core: &mut CallerCore<T>, room: Option<usize>) {
        let second_look = match &mut self.0 {
            None if !core.arm(room) => return,
            None => self.0.insert(Some(clock() + SECOND_LOOK)),
            Some(second_look) => second_look,
        };
        if ours.connection.peer.poll_until(second_look.take()) {
            ours.connection.peer.hear();
            self.0 = None;
        }
    }
}

/// Takes a request and releases it.
fn take(taken: &mut Rx) -> (u64, u32) {
    let frame = taken.take(Deadline::never()).expect("a caller that stays");
    taken.release(frame.position);
    (frame.correlation_id, frame.type_id)
}

fn answer(answers: &mut Tx, id: u64) {
    answers.send(&[], MessageHeader::new(1, id), Deadline::never()).expect("a caller that stays");
}

/// Three calls over rings of two slots: the third waits for room while replies to the others arrive out of order.
pub fn a_caller_with_two_calls_over_two_slots_is_woken(wakers: Wakers) {
    explore(1, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let serving = thread::spawn(move || {
            let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
            let [first, second] = [take(&mut taken), take(&mut taken)].map(|(id, _)| id);
            answer(&mut answers, second);
            answer(&mut answers, first);
            let (third, _) = take(&mut taken);
            answer(&mut answers, third);
            (theirs, taken, answers)
        });
        let mut core = CallerCore::over(&ours);
        let (mut sent, mut came, mut sleep) = (0u64, 0, Sleep::default());
        while came < 3 {
            if let Some(Reply { tag, frame }) = core.next().expect("a callee that stays") {
                assert_eq!(tag, frame.correlation_id, "the reply to another call");
                core.rx.release(frame.position);
                came += 1;
            } else if sent < 3
                && core.try_send(1, &[], Deadline::never(), sent + 1).expect("a callee that stays").is_ok()
            {
                sent += 1;
            } else {
                sleep.next(&ours, &mut core, (sent < 3).then_some(0));
                continue;
            }
            sleep = Sleep::default();
        }
        assert_eq!(core.calls.len(), 0);
        drop(serving.join().expect("the callee"));
    });
}

/// Three calls over rings of two slots, whose callee takes all requests before it answers: the third call waits for
/// room, and no reply wakes the caller.
pub fn a_caller_that_waits_for_room_alone_is_woken(wakers: Wakers) {
    explore(2, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let serving = thread::spawn(move || {
            let mut taken = theirs.rx(0);
            for _ in 0..3 {
                take(&mut taken);
            }
            (theirs, taken)
        });
        let mut core = CallerCore::over(&ours);
        let (mut sent, mut sleep) = (0u64, Sleep::default());
        while sent < 3 {
            if core.try_send(1, &[], Deadline::never(), ()).expect("a callee that stays").is_ok() {
                sent += 1;
                sleep = Sleep::default();
            } else {
                assert!(core.next().expect("a callee that stays").is_none(), "no call was answered");
                sleep.next(&ours, &mut core, Some(0));
            }
        }
        drop(serving.join().expect("the callee"));
    });
}

/// A call is cancelled while its callee answers: the late reply is dropped and released.
pub fn a_cancellation_meets_a_reply(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let serving = thread::spawn(move || {
            let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
            let (id, _) = take(&mut taken);
            answer(&mut answers, id);
            let (cancelled, type_id) = take(&mut taken);
            assert_eq!((cancelled, route_id(type_id)), (id, ROUTE_CANCEL));
            (theirs, taken, answers)
        });
        let mut core = CallerCore::over(&ours);
        let id = core.try_send(1, &[], Deadline::never(), ()).expect("a callee that stays").expect("room");
        assert!(core.end(id, true) && core.calls.len() == 0);
        let mut sleep = Sleep::default();
        loop {
            assert!(core.next().expect("a callee that stays").is_none(), "a reply to no call");
            if core.rx.consumer.taken() == 1 {
                break;
            }
            sleep.next(&ours, &mut core, None);
        }
        assert_eq!(core.rx.consumer.held(), 0);
        drop(serving.join().expect("the callee"));
    });
}

/// A stream of two items to a callee that grants one at a time: the second waits for credit, and no reply comes.
pub fn a_caller_that_waits_for_credit_alone_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let mut core = CallerCore::over(&ours);
        let (route, items) = core.open_route(None).expect("a free cell");
        let type_id = make_type_id(route, 1);
        let header = core.header(type_id, Deadline::never());
        assert!(core.tx.try_send(&[], header).expect("a callee that stays"));
        let id: u64 = core.opened(type_id, Deadline::never(), items);
        let mut taken = theirs.rx(0);
        assert_eq!(take(&mut taken), (id, type_id));
        let mut window = Window::open(0, 1, &mut taken);
        assert_eq!(core.try_send_item(id, &[]).expect("an honest callee"), ItemSent::Sent);
        let serving = thread::spawn(move || {
            take(&mut taken);
            // The last operation: the fence of another wait would replace the fence of this grant.
            window.take(&mut taken);
            (theirs, taken)
        });
        let mut sleep = Sleep::default();
        while core.try_send_item(id, &[]).expect("an honest callee") == ItemSent::Full {
            let has_credit = core.has_credit(id).expect("an honest callee");
            if !has_credit && core.await_credit(id) {
                // A new wait: the arming before was for replies alone.
                sleep = Sleep::default();
            }
            let _: Option<Reply<()>> = core.next().expect("a callee that stays");
            if core.take_credited().is_empty() {
                sleep.next(&ours, &mut core, has_credit.then_some(0));
            }
        }
        drop(serving.join().expect("the callee"));
    });
}
