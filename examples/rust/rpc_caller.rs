//! Calls the two functions of `rpc_callee`, in Rust or in Python.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin rpc_caller -- /tmp/tachyon-rpc.sock .demo/temperatures.f64
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::fs;
use std::time::Duration;

use tachyon::{CallError, Caller, ErrorKind};

// Both sides agree on a number per function, and on the bytes of request and reply.
const STOCK_SUMMARY: u16 = 1;
const TEMPERATURE_SUMMARY: u16 = 2;

const LIMIT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(temperatures)) = (args.next(), args.next()) else {
        return Err("usage: rpc_caller SOCKET TEMPERATURES".into());
    };
    let mut caller = Caller::connect(&socket)?;

    for symbol in ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"] {
        let reply = caller.call_timeout(STOCK_SUMMARY, symbol.as_bytes(), LIMIT)?;
        let [first, last, lowest, highest] = floats(&reply)?;
        println!("{symbol}: from {first:.2} to {last:.2}, between {lowest:.2} and {highest:.2}");
    }

    // A request that the callee cannot serve is an error at once, and the connection stays usable.
    match caller.call_timeout(STOCK_SUMMARY, b"NOPE", LIMIT) {
        Err(CallError::Remote(error)) if error.kind == ErrorKind::HandlerFailed => println!("NOPE: refused"),
        other => return Err(format!("an unknown symbol should be an error, got {other:?}").into()),
    }

    let reply = caller.call_timeout(TEMPERATURE_SUMMARY, &fs::read(temperatures)?, LIMIT)?;
    let [hours, warmest, lowest, highest, mean] = floats(&reply)?;
    println!("{hours} hours: between {lowest:.1} and {highest:.1}, mean {mean:.2}, warmest hour {warmest}");
    Ok(())
}

/// Reads exactly `N` little-endian `f64`.
fn floats<const N: usize>(bytes: &[u8]) -> Result<[f64; N], Box<dyn Error>> {
    let values: Vec<f64> = bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    values.try_into().map_err(|_| format!("{} bytes are not {N} f64", bytes.len()).into())
}
