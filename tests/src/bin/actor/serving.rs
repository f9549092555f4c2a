//! The server: many callers, each known by the seed in its requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tachyon::server::{DisconnectReason, ServerEvent};
use tachyon::{Dispatcher, RpcServer, ServerOptions};
use tachyon_tests::chaos::ledger::Word;
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::numbered::{Stream, tag_of};
use tachyon_tests::chaos::order::Order;

use super::calling::{ECHO, OTHER};
use super::scene::{End, Scene};
use super::{Outcome, say};

/// Longest handshake: a caller that the machine gives no time for a while is not turned away.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Says how many requests of a seed were handled.
const COUNT: u16 = 7;
/// Ends the server.
const STOP: u16 = 9;

pub(crate) fn serve(order: &Order) -> Outcome {
    let mut scene = Scene::new(order)?;
    scene.fate.pass("handshake", 0);
    let options = ServerOptions::new()
        .ring_sizes(scene.capacities.0, scene.capacities.1)
        .connection(scene.options.clone().handshake_timeout(HANDSHAKE));
    let mut server = RpcServer::listen_with(&scene.path, options)?;
    scene.begin()?;
    server.on_event(|event| match event {
        ServerEvent::Left(caller, how) => {
            let how = if matches!(how, DisconnectReason::Died) {
                "dead".to_owned()
            } else {
                format!("{how:?}").to_lowercase()
            };
            say(&Order::new("left").with("how", how).with("pid", caller.pid.unwrap_or_default()).with("at", now()));
        }
        ServerEvent::Error(error) => {
            say(&Order::new("trouble").with("error", error.to_string().replace(char::is_whitespace, "_")));
        }
        _ => {}
    });
    let taken: Arc<Mutex<HashMap<u32, u64>>> = Arc::default();
    let (all, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec)?;
    let stopper = server.stopper();
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    let counted = Arc::clone(&taken);
    dispatcher.register(COUNT, "count", move |request: &[u8]| -> Result<Vec<u8>, String> {
        let seed = request.try_into().map(u32::from_le_bytes).map_err(|_| "a seed has four bytes")?;
        let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(counted.get(&seed).copied().unwrap_or_default().to_le_bytes().to_vec())
    })?;
    let (stream, replies, fate) = (scene.stream, scene.replies, scene.fate.clone());
    let (counted, handled, carried) = (Arc::clone(&taken), Arc::clone(&all), Arc::clone(&bytes));
    let chance = Mutex::new(scene.chance.fork());
    let (pause, resumes) = (order.get_or("pause", 0), order.get_or("resume", 0) == 1);
    dispatcher.register(OTHER, "other", move |request: &[u8]| -> Result<Vec<u8>, String> {
        let (seed, number) = tag_of(request).ok_or("the request says not whose it is")?;
        let before = handled.fetch_add(1, Ordering::Relaxed);
        fate.note(Word::Committed, before);
        fate.note(Word::Taken, before + 1);
        fate.pass("handler", before);
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        // Who had another server before this one goes on where it was.
        let expected = counted.entry(seed).or_insert(if resumes { number } else { 0 });
        let whose = Stream { seed, ..stream };
        if number != *expected {
            return Err(format!("request {number} of {seed} came where {expected} was due"));
        }
        whose.check(number, request).map_err(|wrong| format!("request {number} of {seed}: {wrong}"))?;
        *expected += 1;
        drop(counted);
        let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
        if pause > 0 && chance.u8(..4) == 0 {
            std::thread::sleep(Duration::from_micros(chance.u64(..pause)));
        }
        let reply = whose.replies(replies.most).message(number, &mut chance);
        carried.fetch_add((request.len() + reply.len()) as u64, Ordering::Relaxed);
        fate.note(Word::Started, before + 1);
        Ok(reply)
    })?;
    say(&Order::new("serving"));
    let outcome = match scene.form.as_str() {
        "workers" => dispatcher.serve_workers(&mut server, 2),
        "async" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(dispatcher.serve_async(&mut server))
        }
        _ => dispatcher.serve_forever(&mut server),
    };
    scene.bytes = bytes.load(Ordering::Relaxed);
    let end = outcome.map_or_else(|error| error.end(), |()| "finished".to_owned());
    Ok(scene.ended(&end).with("taken", all.load(Ordering::Relaxed)))
}
