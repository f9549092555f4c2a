//! A program for callgrind: makes a number of operations of one kind. `benches/python/instructions.py` runs it with two
//! numbers and divides the difference, so that the start and the end of the program do not count.
//!
//! Both sides run in one thread and alternate: each finds its message at the first poll, so that the count does not
//! depend on the other side's timing. The count does not include waiting.

use std::error::Error;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

use tachyon::dispatch::Entry;
use tachyon::rpc::Started;
use tachyon::{CallError, Callee, Caller, Dispatcher, List, Options, Receiver, Sender, endpoints, tachyon_rpc};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const CAPACITY: usize = 1 << 16;

/// Under valgrind, and on a busy machine, a handshake is slow.
fn patient() -> Options {
    Options::new().timeout(Duration::from_mins(1)).handshake_timeout(Duration::from_mins(1))
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, count] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err("usage: count OPERATION COUNT".into());
    };
    let count: u32 = count.parse()?;
    match what {
        "round-trip-32" => round_trips(32, count),
        "round-trip-64" => round_trips(64, count),
        "round-trip-176" => round_trips(176, count),
        "round-trip-1024" => round_trips(1024, count),
        "one-way-32" => one_way(32, count),
        "one-way-1024" => one_way(1024, count),
        "batch-32" => batches(32, count),
        "fixed-3" => {
            let three = Three { a: 1.0, b: 2.0, c: 3.0 };
            typed(count, |caller| fixed_3::start(caller, black_box(&three)), Started::finish)
        }
        "fields-3" => {
            let three = Three { a: 1.0, b: 2.0, c: 3.0 };
            let start = |caller: &mut Caller| {
                let Three { a, b, c } = *black_box(&three);
                fields_3::start(caller, a, b, c)
            };
            typed(count, start, Started::finish)
        }
        "fields-option" => {
            typed(count, |caller| fields_option::start(caller, 1.0, 2.0, 3.0, black_box(Some(4.0))), Started::finish)
        }
        "fields-list" => {
            let list = [0.5; 16];
            typed(count, |caller| fields_list::start(caller, 1.0, 2.0, 3.0, black_box(&list)), Started::finish)
        }
        "fields-text" => {
            typed(count, |caller| fields_text::start(caller, 1.0, 2.0, 3.0, black_box("eleven byte")), Started::finish)
        }
        "fields-texts-10" => {
            let texts = ["eleven byte"; 10];
            typed(count, |caller| fields_texts::start(caller, 1.0, 2.0, 3.0, black_box(&texts)), Started::finish)
        }
        "dispatch-1" => dispatch(1, count),
        "dispatch-1000" => dispatch(1000, count),
        _ => Err("no such operation".into()),
    }
}

#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> &[u8] {
    payload
}

/// Three numbers as one payload and as arguments, and with one more argument of each kind.
#[tachyon::payload]
struct Three {
    a: f64,
    b: f64,
    c: f64,
}

#[tachyon_rpc(msg_type = 2)]
fn fixed_3(three: &Three) {
    black_box(*three);
}

#[tachyon_rpc(msg_type = 3)]
fn fields_3(a: f64, b: f64, c: f64) {
    black_box(Three { a, b, c });
}

#[tachyon_rpc(msg_type = 4)]
fn fields_option(a: f64, b: f64, c: f64, d: Option<f64>) {
    black_box((a, b, c, d));
}

#[tachyon_rpc(msg_type = 5)]
fn fields_list(a: f64, b: f64, c: f64, d: &[f32]) {
    black_box((a, b, c, d));
}

#[tachyon_rpc(msg_type = 6)]
fn fields_text(a: f64, b: f64, c: f64, d: &str) {
    black_box((a, b, c, d));
}

#[tachyon_rpc(msg_type = 7)]
fn fields_texts(a: f64, b: f64, c: f64, d: List<'_, String>) {
    black_box((a, b, c));
    for text in d {
        black_box(text);
    }
}

/// Typed calls of one endpoint.
fn typed<C>(
    count: u32,
    start: impl Fn(&mut Caller) -> Result<Started<C>, CallError>,
    finish: impl Fn(Started<C>, &mut Caller) -> Result<(), CallError>,
) -> Outcome {
    let (mut caller, mut callee) = call_ends()?;
    let table = endpoints![fixed_3, fields_3, fields_option, fields_list, fields_text, fields_texts];
    let mut dispatcher = Dispatcher::new(table);
    // The first call compares descriptions, and needs a callee that serves meanwhile.
    let served = thread::scope(|scope| {
        let serving = scope.spawn(|| dispatcher.serve_once(&mut callee));
        let first = start(&mut caller).and_then(|started| finish(started, &mut caller));
        first.and_then(|()| serving.join().map_err(|_| CallError::Closed { sent: false }))
    })?;
    served?;
    for _ in 0..count {
        let started = start(&mut caller)?;
        dispatcher.serve_once(&mut callee)?;
        finish(started, &mut caller)?;
    }
    Ok(())
}

/// A caller and its callee.
fn call_ends() -> Outcome<(Caller, Callee)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("count.sock");
    let listen_at = path.clone();
    let callee = thread::spawn(move || Callee::listen_with(listen_at, CAPACITY, CAPACITY, &patient()));
    let caller = Caller::connect_with(&path, &patient())?;
    Ok((caller, callee.join().map_err(|_| "the listening thread panicked")??))
}

/// A sender and its receiver.
fn bus_ends() -> Outcome<(Sender, Receiver)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("count.sock");
    let listen_at = path.clone();
    let receiver = thread::spawn(move || Receiver::listen_with(listen_at, CAPACITY, &patient()));
    let sender = Sender::connect_with(&path, &patient())?;
    Ok((sender, receiver.join().map_err(|_| "the listening thread panicked")??))
}

/// Request, dispatch and reply.
fn round_trips(size: usize, count: u32) -> Outcome {
    let (mut caller, mut callee) = call_ends()?;
    let mut dispatcher = Dispatcher::new(endpoints![echo]);
    let payload = vec![7; size];
    for _ in 0..count {
        let call = caller.start(1, black_box(&payload))?;
        dispatcher.serve_once(&mut callee)?;
        black_box(caller.finish(call)?.len());
    }
    Ok(())
}

/// A message sent and received in place.
fn one_way(size: usize, count: u32) -> Outcome {
    let (mut sender, mut receiver) = bus_ends()?;
    let payload = vec![7; size];
    for _ in 0..count {
        sender.send(black_box(&payload), 1)?;
        black_box(receiver.recv()?.len());
    }
    Ok(())
}

/// Messages sent one by one and received 50 at a time.
fn batches(size: usize, count: u32) -> Outcome {
    const BATCH: usize = 50;
    let (mut sender, mut receiver) = bus_ends()?;
    let payload = vec![7; size];
    for _ in 0..usize::try_from(count)? / BATCH {
        for _ in 0..BATCH {
            sender.send(black_box(&payload), 1)?;
        }
        let batch = receiver.recv_batch(BATCH)?;
        for message in &batch {
            black_box(message.len());
        }
    }
    Ok(())
}

/// Round trips over all endpoints of a table. A step that is coprime to their number spreads the calls over its pages.
fn dispatch(endpoints: u16, count: u32) -> Outcome {
    // Made before the calls, because the instructions of the arithmetic depend on the number of endpoints. Made before
    // the table, because allocation after a thousand small pieces takes more instructions for a longer tour.
    let tour: Vec<u16> =
        (0..count).map(|turn| u16::try_from(turn * 389 % u32::from(endpoints))).collect::<Result<_, _>>()?;
    let (mut caller, mut callee) = call_ends()?;
    let table: Vec<Entry<()>> = (0..endpoints)
        .map(|msg_type| Entry::shared(msg_type, "echo", "", |(), request, reply| reply.bytes(request.payload())))
        .collect();
    let mut dispatcher = Dispatcher::new(&table);
    for &msg_type in &tour {
        let call = caller.start(msg_type, black_box(&[7; 32]))?;
        dispatcher.serve_once(&mut callee)?;
        black_box(caller.finish(call)?.len());
    }
    // The instructions to free a thousand small pieces depend on earlier frees.
    std::mem::forget((dispatcher, table, tour));
    Ok(())
}
