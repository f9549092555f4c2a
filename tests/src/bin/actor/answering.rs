//! The callee: through a dispatcher, or by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tachyon::{Callee, Dispatcher, ServeError};
use tachyon_tests::chaos::fate::Fate;
use tachyon_tests::chaos::ledger::Word;
use tachyon_tests::chaos::numbered::{SHORTEST_TAGGED, Stream};
use tachyon_tests::chaos::order::Order;

use super::Outcome;
use super::calling::{ECHO, OTHER};
use super::scene::{End, Scene, Unconnected};

/// What the handlers of one performance share.
struct Desk {
    requests: Stream,
    replies: Stream,
    fate: Fate,
    taken: AtomicU64,
    bytes: AtomicU64,
    chance: Mutex<fastrand::Rng>,
    pause: u64,
    /// What was wrong with a request: the dispatcher's own errors would hide it.
    wrong: Mutex<Option<String>>,
}

impl Desk {
    /// Checks the next request and makes its reply.
    fn handle(&self, request: &[u8]) -> Vec<u8> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        // A dispatcher takes a request once it has sent the reply to the one before.
        self.fate.note(Word::Committed, number);
        self.fate.note(Word::Taken, number + 1);
        self.fate.pass("handler", number);
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
        self.fate.note(Word::Started, number + 1);
        reply
    }
}

pub(crate) fn answer(order: &Order) -> Outcome {
    let mut scene = Scene::new(order)?;
    scene.fate.pass("handshake", 0);
    let connected = if scene.listens {
        let (forward, reverse) = scene.capacities;
        Callee::listen_with(&scene.path, forward, reverse, &scene.options).map_err(|error| error.unconnected())
    } else {
        Callee::connect_with(&scene.path, &scene.options).map_err(|error| error.unconnected())
    };
    let mut callee = match connected {
        Ok(callee) => callee,
        Err(answer) => return Ok(answer),
    };
    scene.begin()?;
    if scene.form == "hand" {
        return by_hand(scene, callee);
    }
    let desk = Arc::new(Desk {
        requests: scene.stream,
        replies: scene.replies,
        fate: scene.fate.clone(),
        taken: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        chance: Mutex::new(scene.chance.fork()),
        pause: order.get_or("pause", 0),
        wrong: Mutex::new(None),
    });
    let mut dispatcher = Dispatcher::default();
    for (msg_type, name) in [(ECHO, "echo"), (OTHER, "other")] {
        let desk = Arc::clone(&desk);
        dispatcher.register(msg_type, name, move |request: &[u8]| desk.handle(request))?;
    }
    let end = if scene.count == u64::MAX {
        dispatcher.serve_forever(&mut callee).map_or_else(|error| error.end(), |()| "closed".to_owned())
    } else {
        (0..scene.count)
            .try_for_each(|_| dispatcher.serve_once(&mut callee))
            .map_or_else(|error: ServeError| error.end(), |()| "finished".to_owned())
    };
    if let Some(wrong) = desk.wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(wrong.into());
    }
    scene.bytes = desk.bytes.load(Ordering::Relaxed);
    let answer = scene.ended(&end).with("taken", desk.taken.load(Ordering::Relaxed));
    drop(callee);
    Ok(answer)
}

fn by_hand(mut scene: Scene, mut callee: Callee) -> Outcome {
    let mut taken = 0;
    let end = loop {
        if taken >= scene.count {
            break "finished".to_owned();
        }
        scene.asks();
        let (call, msg_type, echoed) = match callee.serve() {
            Err(error) => break error.end(),
            Ok(request) => {
                scene.stream.check(taken, &request).map_err(|wrong| format!("request {taken}: {wrong}"))?;
                scene.bytes += request.len() as u64;
                scene.fate.note(Word::Taken, taken + 1);
                scene.fate.pass("taken", taken);
                let echoed = (request.len() < SHORTEST_TAGGED).then(|| request.to_vec());
                (request.correlation_id(), request.msg_type(), echoed)
            }
        };
        scene.rest();
        scene.fate.pass("handler", taken);
        scene.fate.note(Word::Started, taken + 1);
        let len = echoed.as_ref().map_or_else(|| scene.replies.len_of(taken), Vec::len);
        let slot = callee.reserve_reply(call, msg_type, len);
        if matches!(slot, Err(ServeError::PeerDead | ServeError::Closed)) {
            // There may be more requests all the same; their end is for `serve` to report.
            taken += 1;
            continue;
        }
        let mut slot = slot?;
        match &echoed {
            Some(request) => slot.copy_from_slice(request),
            None => drop(scene.replies.write(taken, &mut slot)),
        }
        scene.fate.pass("reply", taken);
        slot.commit(len)?;
        scene.fate.pass("answered", taken);
        taken += 1;
        scene.bytes += len as u64;
        scene.fate.note(Word::Committed, taken);
    };
    let answer = scene.ended(&end).with("taken", taken);
    drop(callee);
    Ok(answer)
}
