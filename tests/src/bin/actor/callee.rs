//! The callee: through a dispatcher, or by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tachyon::{Callee, Dispatcher, ServeError};
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress::Progress;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::{SHORTEST_TAGGED, Stream, tag_of};

use super::Outcome;
use super::caller::{CLIENT, ECHO, OTHER, STREAM, TWO_WAY};
use super::role::{End, Role, Unconnected};
use super::streams::OpenStreams;

/// Shared by the handlers of one connection.
struct Handlers {
    requests: Stream,
    replies: Stream,
    progress: Progress,
    taken: AtomicU64,
    bytes: AtomicU64,
    chance: Mutex<fastrand::Rng>,
    pause: u64,
    has_threads: bool,
    /// The error of a malformed request, which the dispatcher would not report.
    wrong: Mutex<Option<String>>,
}

impl Handlers {
    /// Answers the next request.
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let (number, reply) = self.handle(request);
        // A dispatcher takes a request after it has sent the reply to the request before.
        self.progress.note(Field::Committed, number);
        reply
    }

    /// Checks the next request, and returns its number and the reply.
    fn handle(&self, request: &[u8]) -> (u64, Vec<u8>) {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.progress.note(Field::Taken, before + 1);
        self.progress.pass("handler", before);
        // The threads of streams begin in any order. Their requests have tags.
        let number = tag_of(request).filter(|_| self.has_threads).map_or(before, |(_, number)| number);
        if let Err(wrong) = self.requests.check(number, request) {
            *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("request {number}: {wrong}"));
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        if self.pause > 0 && chance.u8(..4) == 0 {
            std::thread::sleep(core::time::Duration::from_micros(chance.u64(..self.pause)));
        }
        let reply =
            if request.len() < SHORTEST_TAGGED { request.to_vec() } else { self.replies.message(number, &mut chance) };
        self.bytes.fetch_add((request.len() + reply.len()) as u64, Ordering::Relaxed);
        self.progress.note(Field::Started, before + 1);
        (number, reply)
    }
}

pub(crate) fn answer(order: &Order) -> Outcome {
    let mut role = Role::new(order)?;
    role.progress.pass("handshake", 0);
    let connected = if role.listens {
        let (forward, reverse) = role.capacities;
        Callee::listen_with(&role.path, forward, reverse, &role.options).map_err(|error| error.unconnected())
    } else {
        Callee::connect_with(&role.path, &role.options).map_err(|error| error.unconnected())
    };
    let mut callee = match connected {
        Ok(callee) => callee,
        Err(answer) => return Ok(answer),
    };
    role.begin()?;
    if role.form == "hand" {
        return by_hand(role, callee);
    }
    let handlers = Arc::new(Handlers {
        requests: role.stream,
        replies: role.replies,
        progress: role.progress.clone(),
        taken: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        chance: Mutex::new(role.chance.fork()),
        pause: order.get_or("pause", 0),
        has_threads: role.form == "threads",
        wrong: Mutex::new(None),
    });
    let mut dispatcher = Dispatcher::default();
    for (msg_type, name) in [(ECHO, "echo"), (OTHER, "other")] {
        let handlers = Arc::clone(&handlers);
        dispatcher.register(msg_type, name, move |request: &[u8]| handlers.answer(request))?;
    }
    let (streamed, streams) = (Arc::clone(&handlers), OpenStreams::new(role.progress.clone()));
    let opened = Arc::clone(&streams);
    // A stream's last message may wait for room when the next request comes, so no reply is noted as committed.
    dispatcher.register_stream(STREAM, "stream", move |request: &[u8]| opened.items(Ok(streamed.handle(request))))?;
    let (exchanging, exchanged) = (Arc::clone(&handlers), Arc::clone(&streams));
    dispatcher.register_two_way(TWO_WAY, "two_way", move |request: Vec<u8>, items, out| {
        exchanged.exchange(exchanging.handle(&request), exchanging.requests, items, &out)
    })?;
    let (uploading, uploaded) = (Arc::clone(&handlers), Arc::clone(&streams));
    dispatcher.register_client_stream(CLIENT, "client", move |request: Vec<u8>, items| {
        uploaded.upload(uploading.handle(&request).0, uploading.requests).take_all(items)
    })?;
    let end = if role.count == u64::MAX {
        dispatcher.serve_forever(&mut callee).map_or_else(|error| error.end(), |()| "closed".to_owned())
    } else {
        (0..role.count)
            .try_for_each(|_| dispatcher.serve_once(&mut callee))
            .map_or_else(|error: ServeError| error.end(), |()| "finished".to_owned())
    };
    if let Some(wrong) = handlers.wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(wrong.into());
    }
    streams.check_closed()?;
    role.bytes = handlers.bytes.load(Ordering::Relaxed);
    let answer = role.ended(&end).with("taken", handlers.taken.load(Ordering::Relaxed));
    drop(callee);
    Ok(answer.with("uploaded", streams.taken()))
}

fn by_hand(mut role: Role, mut callee: Callee) -> Outcome {
    let mut taken = 0;
    let end = loop {
        if taken >= role.count {
            break "finished".to_owned();
        }
        role.mark_operation();
        let (call, msg_type, echoed) = match callee.serve() {
            Err(error) => break error.end(),
            Ok(request) => {
                role.stream.check(taken, &request).map_err(|wrong| format!("request {taken}: {wrong}"))?;
                role.bytes += request.len() as u64;
                role.progress.note(Field::Taken, taken + 1);
                role.progress.pass("taken", taken);
                let echoed = (request.len() < SHORTEST_TAGGED).then(|| request.to_vec());
                (request.correlation_id(), request.msg_type(), echoed)
            }
        };
        role.maybe_pause();
        role.progress.pass("handler", taken);
        role.progress.note(Field::Started, taken + 1);
        let len = echoed.as_ref().map_or_else(|| role.replies.len_of(taken), Vec::len);
        let slot = callee.reserve_reply(call, msg_type, len);
        if matches!(slot, Err(ServeError::PeerDead | ServeError::Closed)) {
            // Further requests may be in the ring. `serve` reports the end after the last.
            taken += 1;
            continue;
        }
        let mut slot = slot?;
        match &echoed {
            Some(request) => slot.copy_from_slice(request),
            None => drop(role.replies.write(taken, &mut slot)),
        }
        role.progress.pass("reply", taken);
        slot.commit(len)?;
        role.progress.pass("answered", taken);
        taken += 1;
        role.bytes += len as u64;
        role.progress.note(Field::Committed, taken);
    };
    let answer = role.ended(&end).with("taken", taken);
    drop(callee);
    Ok(answer)
}
