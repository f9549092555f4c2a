//! Sends stock prices over a one-way bus, one price per message.
//!
//! ```text
//! make input      # once: writes stock prices and temperatures to .demo/
//! cargo run --release -p tachyon-examples --bin bus_producer -- /tmp/tachyon-bus.sock .demo/stocks.csv
//! ```
//!
//! The other end is `bus_consumer`, in Rust or in Python.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::fs;

use tachyon::Sender;

/// The type id of a price. A bus can carry messages of several types.
const PRICE: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(stocks)) = (args.next(), args.next()) else {
        return Err("usage: bus_producer SOCKET STOCKS_CSV".into());
    };
    let stocks = fs::read_to_string(stocks)?;
    let mut bus = Sender::connect(&socket)?;

    let mut sent = 0;
    // Each line is `symbol,date,price`. The first line has the names of the columns.
    for line in stocks.lines().skip(1) {
        let [symbol, _, price] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("{line:?} is not symbol,date,price").into());
        };
        // The message: the price as a little-endian f64, then the symbol. `send` waits while the ring is full.
        let message = [&price.parse::<f64>()?.to_le_bytes(), symbol.as_bytes()].concat();
        bus.send(&message, PRICE)?;
        sent += 1;
    }
    println!("sent {sent} prices");
    // Dropping the bus closes it. The consumer still receives all sent messages, then its loop ends.
    Ok(())
}
