//! The caller: one call after the other, many under way at once, or as tasks of an event loop.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tachyon::AsyncCaller;
use tachyon::{CallError, Caller};
use tachyon_tests::chaos::ledger::Word;
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::numbered::{SHORTEST_TAGGED, Stream};
use tachyon_tests::chaos::order::Order;

use super::Outcome;
use super::scene::{End, Scene, Unconnected};

/// Gives back what it is sent.
pub(crate) const ECHO: u16 = 1;
/// Answers a tagged request with the reply of the same number.
pub(crate) const OTHER: u16 = 2;

/// Most calls under way at once.
const DEPTH: usize = 24;

/// What has come of the calls so far.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    replies: u64,
    /// Calls whose reply will not come: their callee is gone.
    lost: u64,
    /// The error that ended it all.
    end: Option<String>,
}

pub(crate) fn call(order: &Order) -> Outcome {
    let mut scene = Scene::new(order)?;
    scene.fate.pass("handshake", 0);
    if scene.form == "async" {
        return call_async(&scene);
    }
    let connected = if scene.listens {
        let (forward, reverse) = scene.capacities;
        Caller::listen_with(&scene.path, forward, reverse, &scene.options).map_err(|error| error.unconnected())
    } else {
        Caller::connect_with(&scene.path, &scene.options).map_err(|error| error.unconnected())
    };
    let mut caller = match connected {
        Ok(caller) => caller,
        Err(answer) => return Ok(answer),
    };
    scene.begin()?;
    let reconnects = order.get_or("reconnect", 0) == 1;
    let depth = if scene.form == "pipelined" { DEPTH } else { 1 };
    let mut tally = Tally::default();
    let mut under_way = VecDeque::new();
    while tally.sent < scene.count && tally.end.is_none() {
        match send(&mut scene, &mut caller, tally.sent) {
            Ok(call) => {
                under_way.push_back((call, tally.sent));
                tally.sent += 1;
                scene.fate.pass("called", tally.sent - 1);
                scene.fate.note(Word::Committed, tally.sent);
            }
            Err(CallError::Closed { .. } | CallError::PeerDead { .. }) if reconnects => {}
            Err(error) => tally.end = Some(error.end()),
        }
        if under_way.len() >= depth {
            // Any of them: replies that come before they are waited for are kept.
            let chosen = if depth > 1 { scene.chance.usize(..under_way.len()) } else { 0 };
            if let Some(one) = under_way.swap_remove_back(chosen) {
                take(&mut scene, &mut caller, one, &mut tally, reconnects)?;
            }
        }
        scene.rest();
    }
    for one in under_way {
        take(&mut scene, &mut caller, one, &mut tally, reconnects)?;
    }
    let answer = tally.answer(&scene);
    drop(caller);
    Ok(answer)
}

impl Tally {
    fn answer(&self, scene: &Scene) -> Order {
        let end = self.end.as_deref().unwrap_or("finished");
        scene.ended(end).with("sent", self.sent).with("replies", self.replies).with("lost", self.lost)
    }
}

fn msg_type(len: usize) -> u16 {
    if len < SHORTEST_TAGGED { ECHO } else { OTHER }
}

fn send(scene: &mut Scene, caller: &mut Caller, number: u64) -> Result<u64, CallError> {
    scene.fate.pass("before", number);
    scene.fate.note(Word::Started, number + 1);
    let len = scene.stream.len_of(number);
    scene.bytes += len as u64;
    if scene.form == "place" {
        scene.asks();
        let mut slot = caller.reserve_call(msg_type(len), len)?;
        scene.stream.write(number, &mut slot);
        scene.fate.pass("reserved", number);
        slot.commit(len).map_err(|_| CallError::Forked)
    } else {
        let message = scene.stream.message(number, &mut scene.chance);
        scene.asks();
        caller.start(msg_type(len), &message)
    }
}

/// Waits for the reply to a call, and checks it.
fn take(
    scene: &mut Scene,
    caller: &mut Caller,
    (call, number): (u64, u64),
    tally: &mut Tally,
    reconnects: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    if tally.end.is_none() {
        scene.asks();
    }
    match caller.finish(call) {
        Ok(reply) => {
            if let Some(error) = reply.error() {
                return Err(format!("call {number} was refused: {error}").into());
            }
            check(scene.stream, scene.replies, number, &reply)?;
            scene.bytes += reply.len() as u64;
            scene.fate.pass("replied", number);
            tally.replies += 1;
            scene.fate.note(Word::Taken, tally.replies);
        }
        Err(CallError::Closed { .. } | CallError::PeerDead { .. }) if reconnects => tally.lost += 1,
        Err(error) => {
            tally.lost += 1;
            let end = error.end();
            match &tally.end {
                None => tally.end = Some(end),
                // Everything under way ends alike.
                Some(first) if *first == end => {}
                Some(first) => return Err(format!("one call ended with {first}, another one with {end}").into()),
            }
        }
    }
    Ok(())
}

fn check(requests: Stream, replies: Stream, number: u64, reply: &[u8]) -> Result<(), String> {
    let stream = if requests.len_of(number) < SHORTEST_TAGGED { requests } else { replies };
    stream.check(number, reply).map_err(|wrong| format!("reply {number}: {wrong}"))
}

/// As many tasks as calls may be under way, each calling as long as the connection holds.
fn call_async(scene: &Scene) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = match AsyncCaller::connect_with(&scene.path, &scene.options).await {
            Ok(caller) => caller,
            Err(error) => return Ok(error.unconnected()),
        };
        scene.begin()?;
        let (tally, bytes, asked) = (RefCell::new(Tally::default()), Cell::new(0), Cell::new(now()));
        let mut chance = scene.chance.clone();
        let chances: Vec<_> = (0..DEPTH).map(|_| chance.fork()).collect();
        let tasks = chances.into_iter().map(|mut chance| {
            let (caller, tally, bytes, asked) = (&caller, &tally, &bytes, &asked);
            async move {
                loop {
                    let number = {
                        let mut tally = tally.borrow_mut();
                        if tally.sent >= scene.count || tally.end.is_some() {
                            return Ok(());
                        }
                        tally.sent += 1;
                        tally.sent - 1
                    };
                    let message = scene.stream.message(number, &mut chance);
                    asked.set(now());
                    let reply = caller.call(msg_type(message.len()), &message).await;
                    let mut tally = tally.borrow_mut();
                    match reply {
                        Ok(reply) => {
                            check(scene.stream, scene.replies, number, &reply)?;
                            bytes.set(bytes.get() + (message.len() + reply.len()) as u64);
                            tally.replies += 1;
                        }
                        Err(error) => {
                            tally.lost += 1;
                            let end = error.end();
                            let first = tally.end.get_or_insert_with(|| end.clone());
                            if *first != end {
                                return Err(format!("one call ended with {first}, another one with {end}"));
                            }
                        }
                    }
                }
            }
        });
        let outcomes = join_all(tasks).await;
        outcomes.into_iter().collect::<Result<Vec<()>, String>>()?;
        let answer = tally.borrow().answer(scene);
        Ok(answer.with("asked", asked.get()).with("bytes", bytes.get()))
    })
}

/// Runs futures side by side in one task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    core::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    core::task::Poll::Ready(value) => *output = Some(value),
                    core::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { core::task::Poll::Pending } else { core::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
