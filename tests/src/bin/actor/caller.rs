//! The caller: one call after the other, many calls in flight, many open streams, or tasks of an event loop.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tachyon::{AsyncCaller, CallError, Caller};
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::{Receipt, SHORTEST_TAGGED, Stream};

use super::Outcome;
use super::role::{End, Role, Unconnected};

/// Sends the request back.
pub(crate) const ECHO: u16 = 1;
/// Answers a tagged request with the reply of the same number.
pub(crate) const OTHER: u16 = 2;

/// Answers a request with a stream of [`items_of`] items, each of which is the reply of [`OTHER`].
pub(crate) const STREAM: u16 = 3;

/// Answers each item of the caller with the reply of [`OTHER`]. The caller sends the request again, as often as
/// [`STREAM`] has items.
pub(crate) const TWO_WAY: u16 = 4;

/// Takes as many items of the caller as [`STREAM`] has, and answers with their [`Receipt`].
pub(crate) const CLIENT: u16 = 5;

/// Most calls in flight, or open streams. A server has threads for the streams of four callers.
const DEPTH: usize = 16;

/// The number of items in the stream of request `number`.
pub(crate) fn items_of(number: u64) -> u64 {
    1 + number % 40
}

/// The message of the caller that is item `at` of the client stream of request `number`: another one for each item.
pub(crate) fn item_of(number: u64, at: u64) -> u64 {
    number * 64 + at
}

/// The outcomes of the calls so far.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    replies: u64,
    /// Calls without a reply, since their callee is gone.
    lost: u64,
    /// Items that the caller has taken, of all streams.
    items: u64,
    /// Items that the caller has sent, of all client streams.
    uploaded: u64,
    /// The error that ended the connection.
    end: Option<String>,
}

pub(crate) fn call(order: &Order) -> Outcome {
    let mut role = Role::new(order)?;
    role.progress.pass("handshake", 0);
    if role.form.starts_with("async") {
        return call_async(&role);
    }
    let connected = if role.listens {
        let (forward, reverse) = role.capacities;
        Caller::listen_with(&role.path, forward, reverse, &role.options).map_err(|error| error.unconnected())
    } else {
        Caller::connect_with(&role.path, &role.options).map_err(|error| error.unconnected())
    };
    let mut caller = match connected {
        Ok(caller) => caller,
        Err(answer) => return Ok(answer),
    };
    role.begin()?;
    let reconnects = order.get_or("reconnect", 0) == 1;
    let depth = if matches!(&*role.form, "pipelined" | "streams" | "two-way" | "client") { DEPTH } else { 1 };
    let mut tally = Tally::default();
    let mut in_flight = VecDeque::new();
    while tally.sent < role.count && tally.end.is_none() {
        match send(&mut role, &mut caller, tally.sent) {
            Ok(call) => {
                in_flight.push_back((call, tally.sent));
                tally.sent += 1;
                role.progress.pass("called", tally.sent - 1);
                role.progress.note(Field::Committed, tally.sent);
            }
            Err(CallError::Closed { .. } | CallError::PeerDead { .. }) if reconnects => {}
            Err(error) => tally.end = Some(error.end()),
        }
        if in_flight.len() >= depth {
            // Waits for the calls in any order: the caller keeps earlier replies.
            let chosen = if depth > 1 { role.chance.usize(..in_flight.len()) } else { 0 };
            if let Some(one) = in_flight.swap_remove_back(chosen) {
                take(&mut role, &mut caller, one, &mut tally, reconnects)?;
            }
        }
        role.maybe_pause();
    }
    for one in in_flight {
        take(&mut role, &mut caller, one, &mut tally, reconnects)?;
    }
    let answer = tally.answer(&role);
    drop(caller);
    Ok(answer)
}

impl Tally {
    fn answer(&self, role: &Role) -> Order {
        let end = self.end.as_deref().unwrap_or("finished");
        let answer = role.ended(end).with("sent", self.sent).with("replies", self.replies).with("lost", self.lost);
        answer.with("items", self.items).with("uploaded", self.uploaded)
    }
}

fn msg_type(len: usize) -> u16 {
    if len < SHORTEST_TAGGED { ECHO } else { OTHER }
}

fn send(role: &mut Role, caller: &mut Caller, number: u64) -> Result<u64, CallError> {
    role.progress.pass("before", number);
    role.progress.note(Field::Started, number + 1);
    let len = role.stream.len_of(number);
    role.bytes += len as u64;
    if role.form == "place" {
        role.mark_operation();
        let mut slot = caller.reserve_call(msg_type(len), len)?;
        role.stream.write(number, &mut slot);
        role.progress.pass("reserved", number);
        slot.commit(len).map_err(|_| CallError::Forked)
    } else {
        let message = role.stream.message(number, &mut role.chance);
        role.mark_operation();
        match &*role.form {
            "streams" => caller.open(STREAM, &message),
            "two-way" => caller.open(TWO_WAY, &message),
            "client" => caller.open(CLIENT, &message),
            _ => caller.start(msg_type(len), &message),
        }
    }
}

/// Sends all items of a client stream and their end, and gives the receipt that the callee owes.
fn send_items(
    role: &mut Role,
    caller: &mut Caller,
    call: u64,
    number: u64,
    tally: &mut Tally,
) -> Result<Receipt, CallError> {
    let mut receipt = Receipt::default();
    for at in 0..items_of(number) {
        let item = role.stream.message(item_of(number, at), &mut role.chance);
        receipt.add(&item);
        role.progress.note(Field::ItemsStarted, tally.uploaded + 1);
        match caller.send_item(call, &item) {
            Ok(true) => {
                role.bytes += item.len() as u64;
                role.progress.pass("item", tally.uploaded);
                tally.uploaded += 1;
            }
            // The outcome of the stream says why.
            Ok(false) | Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    caller.end_items(call)?;
    Ok(receipt)
}

/// Waits for the reply to a call, or for all items of a stream, and checks each of them.
fn finish(
    role: &mut Role,
    caller: &mut Caller,
    call: u64,
    number: u64,
    tally: &mut Tally,
) -> Result<Result<(), CallError>, String> {
    let is_two_way = role.form == "two-way";
    if !is_two_way && role.form != "streams" {
        let receipt = if role.form == "client" {
            match send_items(role, caller, call, number, tally) {
                Ok(receipt) => Some(receipt),
                Err(error) => return Ok(Err(error)),
            }
        } else {
            None
        };
        let reply = match caller.finish(call) {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(error) = reply.error() {
            return Err(format!("call {number} was refused: {error}"));
        }
        role.bytes += reply.len() as u64;
        let checked = match receipt {
            Some(receipt) => receipt.check(number, &reply),
            None => check(role.stream, role.replies, number, &reply),
        };
        return checked.map(Ok);
    }
    let item = role.stream.message(number, &mut role.chance);
    let mut taken = 0;
    loop {
        if is_two_way {
            // The next item, or the end after the last one. A stream that has ended reports its end below.
            let is_last = taken == items_of(number);
            let sent = if is_last { caller.end_items(call) } else { caller.send_item(call, &item).map(drop) };
            match sent {
                // Items that the callee published before its end are still to be taken.
                Ok(()) | Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        match caller.next_item(call) {
            Ok(Some(item)) => {
                check(role.stream, role.replies, number, &item).map_err(|wrong| format!("item {taken}, {wrong}"))?;
                role.bytes += item.len() as u64;
                taken += 1;
                role.progress.pass("item", tally.items);
                tally.items += 1;
            }
            Ok(None) => return check_end(number, taken).map(Ok),
            Err(CallError::Remote(error)) => return Err(format!("stream {number} ended with {error}")),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Waits for the reply to a call, and checks it.
fn take(
    role: &mut Role,
    caller: &mut Caller,
    (call, number): (u64, u64),
    tally: &mut Tally,
    reconnects: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    if tally.end.is_none() {
        role.mark_operation();
    }
    match finish(role, caller, call, number, tally)? {
        Ok(()) => {
            role.progress.pass("replied", number);
            tally.replies += 1;
            role.progress.note(Field::Taken, tally.replies);
        }
        Err(CallError::Closed { .. } | CallError::PeerDead { .. }) if reconnects => tally.lost += 1,
        Err(error) => {
            tally.lost += 1;
            let end = error.end();
            match &tally.end {
                None => tally.end = Some(end),
                // All calls in flight end with the same error.
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

/// Checks the number of items of a stream that has ended.
fn check_end(number: u64, taken: u64) -> Result<(), String> {
    if taken == items_of(number) {
        Ok(())
    } else {
        Err(format!("stream {number} ended after {taken} of {} items", items_of(number)))
    }
}

/// Takes all items of a stream, and checks each of them. Returns their bytes.
async fn take_stream(
    role: &Role,
    caller: &AsyncCaller,
    number: u64,
    message: &[u8],
    tally: &RefCell<Tally>,
) -> Result<Result<usize, CallError>, String> {
    let is_two_way = role.form == "async-two-way";
    let stream = match caller.open(if is_two_way { TWO_WAY } else { STREAM }, message).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    let (mut taken, mut bytes) = (0, 0);
    loop {
        if is_two_way {
            let is_last = taken == items_of(number);
            let sent = if is_last { stream.end().await } else { stream.send(message).await.map(drop) };
            match sent {
                // As above.
                Ok(()) | Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        let Some(item) = stream.recv().await else { break };
        match item {
            Ok(item) => {
                check(role.stream, role.replies, number, &item).map_err(|wrong| format!("item {taken}, {wrong}"))?;
                bytes += item.len();
                taken += 1;
                tally.borrow_mut().items += 1;
            }
            Err(CallError::Remote(error)) => return Err(format!("stream {number} ended with {error}")),
            Err(error) => return Ok(Err(error)),
        }
    }
    check_end(number, taken).map(|()| Ok(bytes))
}

/// Sends all items of a client stream, and checks the reply. Returns the bytes of the items.
async fn upload(
    role: &Role,
    caller: &AsyncCaller,
    number: u64,
    message: &[u8],
    tally: &RefCell<Tally>,
    chance: &mut fastrand::Rng,
) -> Result<Result<usize, CallError>, String> {
    let stream = match caller.open(CLIENT, message).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    let (mut receipt, mut bytes) = (Receipt::default(), 0);
    for at in 0..items_of(number) {
        let item = role.stream.message(item_of(number, at), chance);
        receipt.add(&item);
        match stream.send(&item).await {
            Ok(true) => {
                bytes += item.len();
                tally.borrow_mut().uploaded += 1;
            }
            // As above.
            Ok(false) | Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    match stream.finish().await {
        Ok(reply) => receipt.check(number, &reply).map(|()| Ok(bytes)),
        Err(CallError::Remote(error)) => Err(format!("stream {number} ended with {error}")),
        Err(error) => Ok(Err(error)),
    }
}

/// Runs as many tasks as calls may be in flight. Each task makes calls until the connection ends.
fn call_async(role: &Role) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = match AsyncCaller::connect_with(&role.path, &role.options).await {
            Ok(caller) => caller,
            Err(error) => return Ok(error.unconnected()),
        };
        role.begin()?;
        let (tally, bytes, asked) = (RefCell::new(Tally::default()), Cell::new(0), Cell::new(now()));
        let mut chance = role.chance.clone();
        let chances: Vec<_> = (0..DEPTH).map(|_| chance.fork()).collect();
        let tasks = chances.into_iter().map(|mut chance| {
            let (caller, tally, bytes, asked) = (&caller, &tally, &bytes, &asked);
            async move {
                loop {
                    let number = {
                        let mut tally = tally.borrow_mut();
                        if tally.sent >= role.count || tally.end.is_some() {
                            return Ok(());
                        }
                        tally.sent += 1;
                        tally.sent - 1
                    };
                    let message = role.stream.message(number, &mut chance);
                    asked.set(now());
                    let carried = match &*role.form {
                        "async" => match caller.call(msg_type(message.len()), &message).await {
                            Ok(reply) => check(role.stream, role.replies, number, &reply).map(|()| Ok(reply.len()))?,
                            Err(error) => Err(error),
                        },
                        "async-client" => upload(role, caller, number, &message, tally, &mut chance).await?,
                        _ => take_stream(role, caller, number, &message, tally).await?,
                    };
                    let mut tally = tally.borrow_mut();
                    match carried {
                        Ok(carried) => {
                            bytes.set(bytes.get() + (message.len() + carried) as u64);
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
        let answer = tally.borrow().answer(role);
        Ok(answer.with("asked", asked.get()).with("bytes", bytes.get()))
    })
}

/// Runs futures concurrently in one task.
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
