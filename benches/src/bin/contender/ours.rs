//! Tachyon, used as in its README.

use std::hint::black_box;
use std::path::Path;

use tachyon::dispatch::Entry;
use tachyon::{Callee, Caller, Dispatcher, Options, PollingMode, Receiver, Sender, endpoints, tachyon_rpc};
use tachyon_benches::{
    Answerer, Asker, Outcome, Report, Sink, Source, drive_answers, drive_asks, drive_sink, drive_source, ready,
    receive, rounds, tell,
};

use crate::bulk::sum;

#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> &[u8] {
    payload
}

/// The maximum number of messages of a batch.
const BATCH: usize = 64;

struct Calling(Caller);

impl Asker for Calling {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        Ok(echo::call_in_place(&mut self.0, payload)?.get().len())
    }
}

struct Serving {
    dispatcher: Dispatcher,
    callee: Callee,
}

impl Answerer for Serving {
    #[inline]
    fn answer(&mut self) -> Outcome {
        Ok(self.dispatcher.serve_once(&mut self.callee)?)
    }
}

pub(crate) fn caller(path: &Path, mode: PollingMode) -> Outcome {
    drive_asks(Calling(Caller::connect_with(path, &Options::new().polling(mode))?))
}

pub(crate) fn callee(path: &Path, capacity: usize, mode: PollingMode) -> Outcome {
    let callee = Callee::listen_with(path, capacity, capacity, &Options::new().polling(mode))?;
    drive_answers(Serving { dispatcher: Dispatcher::new(endpoints![echo]), callee })
}

/// Calls the endpoints of a table in turn.
struct Touring {
    caller: Caller,
    endpoints: u16,
    next: u16,
}

impl Asker for Touring {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        // A step that is coprime to the number of endpoints visits all of them, in an order that defeats the
        // prefetcher.
        self.next = (self.next + 389) % self.endpoints;
        Ok(self.caller.call(self.next, payload)?.len())
    }
}

pub(crate) fn table_caller(path: &Path, endpoints: u16) -> Outcome {
    let caller = Caller::connect_with(path, &Options::new().polling(PollingMode::Spin))?;
    drive_asks(Touring { caller, endpoints, next: 0 })
}

pub(crate) fn table_callee(path: &Path, capacity: usize, endpoints: u16) -> Outcome {
    let table: Vec<Entry<()>> = (0..endpoints)
        .map(|msg_type| Entry::shared(msg_type, "echo", "", |(), request, reply| reply.bytes(request.payload())))
        .collect();
    let callee = Callee::listen_with(path, capacity, capacity, &Options::new().polling(PollingMode::Spin))?;
    drive_answers(Serving { dispatcher: Dispatcher::new(&table), callee })
}

struct Sending(Sender);

impl Source for Sending {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Outcome {
        Ok(self.0.send(payload, 1)?)
    }
}

pub(crate) fn sender(path: &Path, mode: PollingMode) -> Outcome {
    drive_source(Sending(Sender::connect_with(path, &Options::new().polling(mode))?))
}

/// A stream of `count` items of `size` bytes.
const ITEMS: u16 = 2;

/// An item, of up to 1 KiB.
static ITEM: [u8; 1 << 10] = [7; 1 << 10];

/// The items of a stream that is asked for.
struct Items<'c> {
    caller: &'c mut Caller,
    stream: u64,
}

impl Sink for Items<'_> {
    #[inline]
    fn take(&mut self, _most: u64) -> Outcome<u64> {
        let item = self.caller.next_item(self.stream)?.ok_or("the stream ended early")?;
        black_box((item.first(), item.last()));
        Ok(1)
    }
}

pub(crate) fn stream_caller(path: &Path, mode: PollingMode) -> Outcome {
    let mut caller = Caller::connect_with(path, &Options::new().polling(mode))?;
    ready()?;
    while let Some(round) = rounds()? {
        let asked = [u64::try_from(round.size)?.to_le_bytes(), round.total().to_le_bytes()].concat();
        let stream = caller.open(ITEMS, &asked)?;
        let report = receive(&mut Items { caller: &mut caller, stream }, &round)?;
        if caller.next_item(stream)?.is_some() {
            return Err("the stream goes on".into());
        }
        tell(&report)?;
    }
    Ok(())
}

pub(crate) fn stream_callee(path: &Path, capacity: usize, mode: PollingMode) -> Outcome {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register_stream(ITEMS, "items", |asked: &[u8]| {
        let [size, count] = [0, 8].map(|at| u64::from_le_bytes(asked[at..at + 8].try_into().expect("8 bytes")));
        let item = &ITEM[..usize::try_from(size).expect("a size")];
        (0..count).map(move |_| item)
    })?;
    let mut callee = Callee::listen_with(path, capacity, capacity, &Options::new().polling(mode))?;
    ready()?;
    while rounds()?.is_some() {
        dispatcher.serve_once(&mut callee)?;
        tell(&Report::default())?;
    }
    Ok(())
}

/// The receiver's use of messages.
#[derive(Clone, Copy)]
enum Taking {
    /// Takes one message at a time, and reads its first and its last byte.
    OneByOne,
    /// Takes messages by batches, and reads the first and the last byte of each.
    Batch,
    /// Takes one message at a time, and reads every word in place.
    EveryWord,
}

struct Receiving {
    receiver: Receiver,
    taking: Taking,
}

impl Sink for Receiving {
    #[inline]
    fn take(&mut self, most: u64) -> Outcome<u64> {
        match self.taking {
            Taking::OneByOne => {
                let message = self.receiver.recv()?;
                black_box((message.first(), message.last()));
                Ok(1)
            }
            Taking::EveryWord => {
                black_box(sum(&self.receiver.recv()?));
                Ok(1)
            }
            Taking::Batch => {
                let most = usize::try_from(most)?.min(BATCH);
                let batch = self.receiver.recv_batch(most)?;
                for message in &batch {
                    black_box((message.first(), message.last()));
                }
                Ok(u64::try_from(batch.len())?)
            }
        }
    }
}

pub(crate) fn receiver(path: &Path, capacity: usize, how: &str) -> Outcome {
    let (mode, taking) = match how {
        "spin" => (PollingMode::Spin, Taking::OneByOne),
        "adaptive" => (PollingMode::Adaptive, Taking::OneByOne),
        "batch" => (PollingMode::Spin, Taking::Batch),
        "words" => (PollingMode::Spin, Taking::EveryWord),
        _ => return Err("HOW is spin, adaptive, batch or words".into()),
    };
    let receiver = Receiver::listen_with(path, capacity, &Options::new().polling(mode))?;
    drive_sink(Receiving { receiver, taking })
}
