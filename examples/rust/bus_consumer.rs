//! Receives stock prices from a one-way bus and says how many came, and the highest, of each stock.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin bus_consumer -- /tmp/tachyon-bus.sock
//! ```
//!
//! The other end is `bus_producer`, in Rust or in Python.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::BTreeMap;
use std::error::Error;

use tachyon::Receiver;

/// What the two sides call a price. A bus may carry messages of many types.
const PRICE: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(socket) = std::env::args().nth(1) else {
        return Err("usage: bus_consumer SOCKET".into());
    };
    // 4 KiB, less than what is sent: the producer waits when it is ahead.
    let mut bus = Receiver::listen(&socket, 1 << 12)?;

    let mut stocks: BTreeMap<String, (u32, f64)> = BTreeMap::new();
    // Ends when the producer has closed and everything it sent has been seen.
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
