//! Receives stock prices from a one-way bus, and prints the number of prices and the highest price of each stock.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin bus_consumer -- /tmp/tachyon-bus.sock
//! ```
//!
//! The other end is `bus_producer`, in Rust or in Python.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::error::Error;

use tachyon::Receiver;

/// The type id of a price. A bus can carry messages of several types.
const PRICE: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(socket) = std::env::args().nth(1) else {
        return Err("usage: bus_consumer SOCKET".into());
    };
    // A ring of 4 KiB is smaller than the data: a producer that is ahead waits (backpressure).
    let mut bus = Receiver::listen(&socket, 1 << 12)?;

    let mut stocks: BTreeMap<String, (u32, f64)> = BTreeMap::new();
    // The loop ends when the producer has closed and all its messages are received.
    for message in bus.messages() {
        let message = message?;
        let Some((price, symbol)) = message.data.split_first_chunk().filter(|_| message.type_id == PRICE) else {
            return Err(format!("{message:?} is not a price").into());
        };
        let (count, highest) = stocks.entry(str::from_utf8(symbol)?.to_owned()).or_insert((0, f64::NEG_INFINITY));
        *count += 1;
        *highest = highest.max(f64::from_le_bytes(*price));
    }
    for (symbol, (count, highest)) in stocks {
        println!("{symbol}: {count} prices, highest {highest:.2}");
    }
    Ok(())
}
