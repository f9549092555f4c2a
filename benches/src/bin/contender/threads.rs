//! A ring between two threads of one process, each on one of the two cores.

use std::hint::{black_box, spin_loop};
use std::thread;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tachyon_benches::{Kind, Outcome, Report, Round, Sink, Source, ready, receive, rounds, send, tell};

/// The number of elements of a chunk in the batch variant.
const BATCH: usize = 64;

struct Pushing<const N: usize>(Producer<[u8; N]>);

impl<const N: usize> Source for Pushing<N> {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Outcome {
        let element: [u8; N] = payload.try_into()?;
        while self.0.push(element).is_err() {
            spin_loop();
        }
        Ok(())
    }
}

struct Popping<const N: usize> {
    consumer: Consumer<[u8; N]>,
    batch: bool,
}

impl<const N: usize> Sink for Popping<N> {
    #[inline]
    fn take(&mut self, most: u64) -> Outcome<u64> {
        if self.batch {
            let there = loop {
                let slots = self.consumer.slots();
                if slots > 0 {
                    break slots.min(BATCH).min(usize::try_from(most)?);
                }
                spin_loop();
            };
            for element in self.consumer.read_chunk(there)? {
                black_box((element.first(), element.last()));
            }
            return Ok(u64::try_from(there)?);
        }
        loop {
            if let Ok(element) = self.consumer.pop() {
                black_box((element.first(), element.last()));
                return Ok(1);
            }
            spin_loop();
        }
    }
}

/// Streams between two threads; `how` is `one` or `batch`. The ring has as many elements as a bus of `capacity` has
/// slots.
pub(crate) fn rtrb(capacity: usize, how: &str) -> Outcome {
    let batch = match how {
        "one" => false,
        "batch" => true,
        _ => return Err("HOW is one or batch".into()),
    };
    ready()?;
    while let Some(round) = rounds()? {
        if round.kind != Kind::Stream {
            return Err("rtrb has no answers: only a stream can be timed".into());
        }
        tell(&match round.size {
            32 => stream::<32>(&round, capacity / 64, batch)?,
            1024 => stream::<1024>(&round, capacity / 1024, batch)?,
            size => return Err(format!("this program has no ring with elements of {size} bytes").into()),
        })?;
    }
    Ok(())
}

fn stream<const N: usize>(round: &Round, elements: usize, batch: bool) -> Outcome<Report> {
    let [first, second] = cores()?;
    let (producer, consumer) = RingBuffer::<[u8; N]>::new(elements);
    thread::scope(|scope| {
        // Boxed errors are not `Send`.
        let sending = scope.spawn(move || -> Result<(), String> {
            sched_setaffinity(None, &first).map_err(|error| error.to_string())?;
            send(&mut Pushing(producer), round).map_err(|error| error.to_string())
        });
        let before = sched_getaffinity(None)?;
        sched_setaffinity(None, &second)?;
        let report = receive(&mut Popping { consumer, batch }, round);
        sched_setaffinity(None, &before)?;
        sending.join().map_err(|_| "the sending thread panicked")??;
        report
    })
}

/// The first two cores that this process may run on.
fn cores() -> Outcome<[CpuSet; 2]> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let mut next = || -> Outcome<CpuSet> {
        let mut set = CpuSet::new();
        set.set(cores.next().ok_or("two cores are needed")?);
        Ok(set)
    };
    Ok([next()?, next()?])
}
