//! The server of many callers. The seed in a request identifies its caller.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tachyon::server::{DisconnectReason, ServerEvent};
use tachyon::{Dispatcher, HandlerError, RegisterError, RpcServer, ServerOptions};
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::{Stream, tag_of};

use super::caller::{CLIENT, ECHO, OTHER, STREAM, TWO_WAY};
use super::role::{End, Role};
use super::streams::OpenStreams;
use super::{Outcome, print};

/// Longest handshake: on a busy machine a caller may get no processor time for a while.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Returns the number of handled requests of a seed.
const COUNT: u16 = 7;
/// Returns the number of open streams.
const OPEN: u16 = 8;
/// Stops the server.
const STOP: u16 = 9;

pub(crate) fn serve(order: &Order) -> Outcome {
    let mut role = Role::new(order)?;
    role.progress.pass("handshake", 0);
    let options = ServerOptions::new()
        .ring_sizes(role.capacities.0, role.capacities.1)
        .connection(role.options.clone().handshake_timeout(HANDSHAKE));
    let mut server = RpcServer::listen_with(&role.path, options)?;
    role.begin()?;
    server.on_event(|event| match event {
        ServerEvent::Left(caller, how) => {
            let how = if matches!(how, DisconnectReason::Died) {
                "dead".to_owned()
            } else {
                format!("{how:?}").to_lowercase()
            };
            print(&Order::new("left").with("how", how).with("pid", caller.pid.unwrap_or_default()).with("at", now()));
        }
        ServerEvent::Error(error) => {
            print(&Order::new("trouble").with("error", error.to_string().replace(char::is_whitespace, "_")));
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
    let (stream, replies, progress) = (role.stream, role.replies, role.progress.clone());
    let (counted, handled, carried) = (Arc::clone(&taken), Arc::clone(&all), Arc::clone(&bytes));
    let chance = Mutex::new(role.chance.fork());
    let (pause, resumes) = (order.get_or("pause", 0), order.get_or("resume", 0) == 1);
    let unary = AtomicU64::new(0);
    let take = Arc::new(move |request: &[u8], msg_type: u16| -> Result<(u64, Vec<u8>), String> {
        let (seed, number) = tag_of(request).ok_or("the request has no tag")?;
        let before = handled.fetch_add(1, Ordering::Relaxed);
        // The serving thread has sent the reply to each unary request before it begins the next request. A thread
        // of a stream runs beside a unary request, and knows nothing of its reply.
        if msg_type == OTHER {
            progress.note(Field::Committed, unary.fetch_add(1, Ordering::Relaxed));
        }
        progress.note(Field::Taken, before + 1);
        progress.pass("handler", before);
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        // A caller that had another server before this one continues its numbers.
        let expected = counted.entry(seed).or_insert(if resumes { number } else { 0 });
        let whose = Stream { seed, ..stream };
        // The threads of streams begin in any order.
        if number != *expected && !matches!(msg_type, TWO_WAY | CLIENT) {
            return Err(format!("request {number} of {seed} came instead of {expected}"));
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
        progress.note(Field::Started, before + 1);
        Ok((number, reply))
    });
    let taker = Arc::clone(&take);
    dispatcher.register(OTHER, "other", move |request: &[u8]| taker(request, OTHER).map(|(_, reply)| reply))?;
    let streams = OpenStreams::new(role.progress.clone());
    register_streams(&mut dispatcher, &streams, &take, stream, role.form == "async")?;
    let counting = Arc::clone(&streams);
    dispatcher.register(OPEN, "open", move |_: &[u8]| counting.open().to_le_bytes().to_vec())?;
    print(&Order::new("serving"));
    let outcome = match role.form.as_str() {
        "workers" => dispatcher.serve_workers(&mut server, 2),
        "async" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(dispatcher.serve_async(&mut server))
        }
        _ => dispatcher.serve_forever(&mut server),
    };
    streams.check_closed()?;
    role.bytes = bytes.load(Ordering::Relaxed);
    let end = outcome.map_or_else(|error| error.end(), |()| "finished".to_owned());
    Ok(role.ended(&end).with("taken", all.load(Ordering::Relaxed)))
}

/// Registers the streams. `take` checks the next request, and gives its number and the reply; `requests` has the sizes
/// of the requests of every caller.
fn register_streams(
    dispatcher: &mut Dispatcher,
    streams: &Arc<OpenStreams>,
    take: &Arc<impl Fn(&[u8], u16) -> Result<(u64, Vec<u8>), String> + Send + Sync + 'static>,
    requests: Stream,
    is_async: bool,
) -> Result<(), RegisterError> {
    let whose = move |request: &[u8]| Stream { seed: tag_of(request).map_or(0, |(seed, _)| seed), ..requests };
    let (opened, streamed) = (Arc::clone(streams), Arc::clone(take));
    dispatcher.register_stream(STREAM, "stream", move |request: &[u8]| opened.items(streamed(request, STREAM)))?;
    let (exchanged, exchanging) = (Arc::clone(streams), Arc::clone(take));
    dispatcher.register_two_way(TWO_WAY, "two_way", move |request: Vec<u8>, items, out| {
        let answer = exchanging(&request, TWO_WAY).map_err(HandlerError::failed)?;
        exchanged.exchange(answer, whose(&request), items, &out)
    })?;
    let (uploaded, uploading) = (Arc::clone(streams), Arc::clone(take));
    let upload = Arc::new(move |request: &[u8]| {
        let (number, _) = uploading(request, CLIENT).map_err(HandlerError::failed)?;
        Ok::<_, HandlerError>(uploaded.upload(number, whose(request)))
    });
    if is_async {
        dispatcher.register_async_client_stream(CLIENT, "client", move |request, items| {
            let upload = Arc::clone(&upload);
            async move { upload(&request)?.take_all_async(items).await }
        })?;
    } else {
        dispatcher.register_client_stream(CLIENT, "client", move |request: Vec<u8>, items| {
            upload(&request)?.take_all(items)
        })?;
    }
    Ok(())
}
