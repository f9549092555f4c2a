//! Moves 70 KB between two processes without a copy: the data are written and read in place.
//!
//! In two terminals, in any order (the sender waits up to five seconds for the receiver):
//!
//! ```text
//! make input      # once: writes stock prices and temperatures to .demo/
//! cargo run --release -p tachyon-examples --bin zero_copy -- receive /tmp/tachyon-zero.sock
//! cargo run --release -p tachyon-examples --bin zero_copy -- send /tmp/tachyon-zero.sock .demo/temperatures.f64
//! ```
//!
//! Either process can also be `examples/python/zero_copy.py`.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::fs::File;
use std::io::Read;

use tachyon::{Receiver, Sender};

/// The type id of a list of temperatures.
const TEMPERATURES: u32 = 2;

/// The maximum size of a message in bytes.
const MOST: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", socket] => receive(socket),
        ["send", socket, temperatures] => send(socket, temperatures),
        _ => Err("usage: zero_copy receive SOCKET | zero_copy send SOCKET TEMPERATURES".into()),
    }
}

fn send(socket: &str, temperatures: &str) -> Result<(), Box<dyn Error>> {
    let mut file = File::open(temperatures)?;
    let mut bus = Sender::connect(socket)?;
    // Reserves room in shared memory before the size is known. The file is read directly into it.
    let mut room = bus.reserve(MOST, TEMPERATURES)?;
    let mut filled = 0;
    loop {
        match file.read(&mut room[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    // The receiver sees the message only from here on. A `room` that is dropped without a commit sends nothing.
    room.commit(filled)?;
    println!("sent {filled} bytes");
    Ok(())
}

fn receive(socket: &str) -> Result<(), Box<dyn Error>> {
    let mut bus = Receiver::listen(socket, 1 << 18)?;
    // The message stays in place until `message` goes out of scope. Then the sender can use its room again.
    let message = bus.recv()?;
    let (hours, _) = message.as_chunks();
    let (size, kind, count) = (message.len(), message.type_id(), hours.len());
    let warmest = hours.iter().map(|bytes| f64::from_le_bytes(*bytes)).fold(f64::NEG_INFINITY, f64::max);
    println!("received {size} bytes, type {kind}: {count} hours, warmest {warmest:.1}");
    Ok(())
}
