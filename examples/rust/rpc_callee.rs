//! Two functions that another process can call: the prices of a stock, and the temperatures of a year.
//!
//! ```text
//! make input      # once: writes stock prices and temperatures to .demo/
//! cargo run --release -p tachyon-examples --bin rpc_callee -- /tmp/tachyon-rpc.sock .demo/stocks.csv
//! ```
//!
//! Then, in a second terminal, run `rpc_caller` in Rust or in Python.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::sync::OnceLock;

use tachyon::{Callee, Dispatcher, endpoints, tachyon_rpc};

/// Monthly prices by symbol, oldest first. A handler is a plain function, so its data is a static.
static PRICES: OnceLock<HashMap<String, Vec<f64>>> = OnceLock::new();

/// Takes a symbol such as `AAPL`; replies with the first, last, lowest and highest price, four little-endian `f64`.
///
/// An `Err` reaches the caller as an error reply, so the caller never waits in vain. Endpoints of bytes do not send the
/// text of the error; endpoints with types do.
#[tachyon_rpc(msg_type = 1)]
fn stock_summary(symbol: &[u8]) -> Result<Vec<u8>, String> {
    // The symbol is copied before the check, because the peer can write to the shared memory.
    let symbol = String::from_utf8(symbol.to_vec()).map_err(|error| error.to_string())?;
    let prices = PRICES.get().and_then(|stocks| stocks.get(&symbol)).ok_or(format!("no stock {symbol:?}"))?;
    let (first, last) = (prices[0], prices[prices.len() - 1]);
    let lowest = prices.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = prices.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok([first, last, lowest, highest].map(f64::to_le_bytes).concat())
}

/// Takes hourly temperatures; replies with their number, the index of the warmest hour, and the lowest, highest and
/// mean temperature. Everything is a little-endian `f64`.
///
/// The function reads the request of 70 KB in place, in shared memory.
#[tachyon_rpc(msg_type = 2)]
fn temperature_summary(payload: &[u8]) -> Result<Vec<u8>, String> {
    let (hours, rest) = payload.as_chunks::<8>();
    if hours.is_empty() || !rest.is_empty() {
        return Err(format!("{} bytes are not a list of f64", payload.len()));
    }
    let (mut count, mut warmest) = (0.0, 0.0);
    let (mut lowest, mut highest, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for temperature in hours.iter().map(|bytes| f64::from_le_bytes(*bytes)) {
        if temperature > highest {
            (warmest, highest) = (count, temperature);
        }
        lowest = lowest.min(temperature);
        sum += temperature;
        count += 1.0;
    }
    Ok([count, warmest, lowest, highest, sum / count].map(f64::to_le_bytes).concat())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(stocks)) = (args.next(), args.next()) else {
        return Err("usage: rpc_callee SOCKET STOCKS_CSV".into());
    };
    let prices = read_prices(&stocks)?;
    PRICES.get_or_init(|| prices);
    println!("waiting for a caller at {socket}");
    // The forward ring carries requests of up to 70 KB, and the reverse ring short replies.
    let mut callee = Callee::listen(&socket, 1 << 18, 1 << 16)?;
    let mut dispatcher = Dispatcher::new(endpoints![stock_summary, temperature_summary]);
    dispatcher.serve_forever(&mut callee)?;
    println!("the caller is done");
    Ok(())
}

/// Reads lines of `symbol,date,price`. The first line has the names of the columns.
fn read_prices(path: &str) -> Result<HashMap<String, Vec<f64>>, Box<dyn Error>> {
    let mut stocks: HashMap<String, Vec<f64>> = HashMap::new();
    for line in fs::read_to_string(path)?.lines().skip(1) {
        let [symbol, _, price] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("{path}: {line:?} is not symbol,date,price").into());
        };
        stocks.entry(symbol.to_owned()).or_default().push(price.parse()?);
    }
    Ok(stocks)
}
