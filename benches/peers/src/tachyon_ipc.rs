//! The crate tachyon-ipc 0.5.1, used as in its examples: a callee commits the request before it replies.

use std::hint::{black_box, spin_loop};
use std::thread::sleep;
use std::time::Duration;

use tachyon_benches::{Answerer, Asker, Outcome, Sink, Source, drive_answers, drive_asks, drive_sink, drive_source};
use tachyon_ipc::{Bus, RpcBus, TachyonError};

/// The maximum number of messages of a batch, and of sends between two flushes.
const BATCH: usize = 64;

/// Polls before its adaptive mode sleeps: the default of its bindings.
const ADAPTIVE: u32 = 10_000;

/// Tries to connect for ten seconds: the crate cannot wait for a listener.
fn connect<T>(connect: impl Fn() -> Result<T, TachyonError>) -> Outcome<T> {
    for _ in 0..1000 {
        if let Ok(connected) = connect() {
            return Ok(connected);
        }
        sleep(Duration::from_millis(10));
    }
    connect().map_err(|error| format!("no connection within ten seconds: {error:?}").into())
}

fn failed<T>(result: Result<T, TachyonError>) -> Outcome<T> {
    result.map_err(|error| format!("{error:?}").into())
}

/// Whether a side spins for ever, and the number of polls before it sleeps otherwise.
fn spins(how: &str) -> Outcome<(bool, u32)> {
    match how {
        "spin" | "batch" | "unflushed" => Ok((true, u32::MAX)),
        "adaptive" => Ok((false, ADAPTIVE)),
        _ => Err("HOW is spin, adaptive, batch or unflushed".into()),
    }
}

struct Calling {
    bus: RpcBus,
    spins: u32,
}

impl Asker for Calling {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        let call = failed(self.bus.call(payload, 1))?;
        let reply = failed(self.bus.wait(call, self.spins))?;
        let len = reply.data().len();
        failed(reply.commit())?;
        Ok(len)
    }
}

struct Serving {
    bus: RpcBus,
    spins: u32,
    request: Vec<u8>,
}

impl Answerer for Serving {
    #[inline]
    fn answer(&mut self) -> Outcome {
        let request = failed(self.bus.serve(self.spins))?;
        let (call, msg_type) = (request.correlation_id, request.type_id);
        self.request.clear();
        self.request.extend_from_slice(request.data());
        failed(request.commit())?;
        failed(self.bus.reply(call, &self.request, msg_type))
    }
}

pub(crate) fn caller(path: &str, how: &str) -> Outcome {
    let (pure, spins) = spins(how)?;
    let bus = connect(|| RpcBus::connect(path))?;
    bus.set_polling_mode(pure);
    drive_asks(Calling { bus, spins })
}

pub(crate) fn callee(path: &str, capacity: usize, how: &str) -> Outcome {
    let (pure, spins) = spins(how)?;
    let bus = failed(RpcBus::listen(path, capacity, capacity))?;
    bus.set_polling_mode(pure);
    drive_answers(Serving { bus, spins, request: Vec::new() })
}

struct Sending {
    bus: Bus,
    unflushed: bool,
    since_flush: usize,
}

impl Sending {
    #[inline]
    fn once(&mut self, payload: &[u8]) -> Result<(), TachyonError> {
        if !self.unflushed {
            return self.bus.send(payload, 1);
        }
        let guard = self.bus.acquire_tx(payload.len())?;
        guard.write(payload);
        guard.commit_unflushed(payload.len(), 1)?;
        self.since_flush += 1;
        if self.since_flush == BATCH {
            self.since_flush = 0;
            self.bus.flush();
        }
        Ok(())
    }
}

impl Source for Sending {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Outcome {
        loop {
            match self.once(payload) {
                Ok(()) => return Ok(()),
                // The crate does not wait for room.
                Err(TachyonError::BufferFull) => {
                    if self.unflushed {
                        self.bus.flush();
                    }
                    spin_loop();
                }
                Err(error) => return Err(format!("{error:?}").into()),
            }
        }
    }

    fn flush(&mut self) -> Outcome {
        self.since_flush = 0;
        self.bus.flush();
        Ok(())
    }
}

struct Receiving {
    bus: Bus,
    spins: u32,
    batch: bool,
}

impl Sink for Receiving {
    #[inline]
    fn take(&mut self, most: u64) -> Outcome<u64> {
        if self.batch {
            let most = usize::try_from(most)?.min(BATCH);
            let batch = failed(self.bus.drain_batch(most, self.spins))?;
            for message in batch.iter() {
                let data = message.data();
                black_box((data.first(), data.last()));
            }
            let taken = u64::try_from(batch.len())?;
            failed(batch.commit())?;
            return Ok(taken);
        }
        let message = failed(self.bus.acquire_rx(self.spins))?;
        black_box((message.data().first(), message.data().last()));
        failed(message.commit())?;
        Ok(1)
    }
}

pub(crate) fn sender(path: &str, how: &str) -> Outcome {
    let (pure, _) = spins(how)?;
    let bus = connect(|| Bus::connect(path))?;
    bus.set_polling_mode(i32::from(pure));
    drive_source(Sending { bus, unflushed: how == "unflushed", since_flush: 0 })
}

pub(crate) fn receiver(path: &str, capacity: usize, how: &str) -> Outcome {
    let (pure, spins) = spins(how)?;
    let bus = failed(Bus::listen(path, capacity))?;
    bus.set_polling_mode(i32::from(pure));
    drive_sink(Receiving { bus, spins, batch: matches!(how, "batch" | "unflushed") })
}
