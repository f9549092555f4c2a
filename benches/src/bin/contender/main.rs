//! One side of one contender of `make bench`: Tachyon, the transports beside it, and the floor under all of them.
//!
//! `benches/python/bench` starts this program, writes the rounds to its standard input and reads the reports from its
//! standard output. `docs/internals/benchmarks.md` describes the method. By hand: `contender callee /tmp/x.sock 65536
//! spin` and, beside it, `contender caller /tmp/x.sock 65536 spin`, then give both the same line, such as
//! `{"kind":"single","size":32,"count":10000,"warm":100}`.

mod bulk;
mod ours;
mod sockets;
mod threads;

use std::path::Path;

use tachyon::PollingMode;
use tachyon_benches::{Bouncer, Outcome, drive_answers, drive_asks};

const USAGE: &str = "usage: contender SIDE PATH CAPACITY HOW";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, path, capacity, how] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err(USAGE.into());
    };
    let path: &Path = path.as_ref();
    let capacity: usize = capacity.parse()?;
    match side {
        "floor-asker" => drive_asks(Bouncer::open(path)?),
        "floor-answerer" => drive_answers(Bouncer::create(path)?),
        "caller" => ours::caller(path, mode(how)?),
        "callee" => ours::callee(path, capacity, mode(how)?),
        "table-caller" => ours::table_caller(path, how.parse()?),
        "table-callee" => ours::table_callee(path, capacity, how.parse()?),
        "sender" => ours::sender(path, mode(how)?),
        "receiver" => ours::receiver(path, capacity, how),
        "stream-caller" => ours::stream_caller(path, mode(how)?),
        "stream-callee" => ours::stream_callee(path, capacity, mode(how)?),
        "socket-asker" => sockets::asker(path),
        "socket-answerer" => sockets::answerer(path),
        "socket-source" => sockets::source(path),
        "socket-sink" => sockets::sink(path),
        "rtrb" => threads::rtrb(capacity, how),
        "memcpy" => bulk::memcpy(capacity),
        "bare-source" => bulk::source(path, capacity),
        "bare-sink" => bulk::sink(path, capacity),
        _ => Err(USAGE.into()),
    }
}

fn mode(name: &str) -> Outcome<PollingMode> {
    match name {
        "spin" => Ok(PollingMode::Spin),
        "adaptive" => Ok(PollingMode::Adaptive),
        "park" => Ok(PollingMode::Park),
        _ => Err("HOW is spin, adaptive or park".into()),
    }
}
