//! The Rust caller that `make demo` measures. Read `rpc_caller` first.
//!
//! The program calls both functions of `rpc_callee`, times every call, and prints JSON: the bytes of the replies, and
//! the round trips in nanoseconds. Run:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin demo_caller -- SOCKET .demo/temperatures.f64 CALLS
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use tachyon::{CallError, Caller};

const STOCK_SUMMARY: u16 = 1;
const TEMPERATURE_SUMMARY: u16 = 2;
const SYMBOLS: [&str; 5] = ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"];
const LIMIT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(temperatures), Some(calls)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: demo_caller SOCKET TEMPERATURES CALLS".into());
    };
    let temperatures = fs::read(temperatures)?;
    let calls: usize = calls.parse()?;
    let mut caller = Caller::connect(&socket)?;

    let unknown = match caller.call_timeout(STOCK_SUMMARY, b"NOPE", LIMIT) {
        Err(CallError::Remote(error)) => format!("[{}, {}]", error.kind as u16, error.msg_type),
        other => return Err(format!("an unknown symbol should be an error, got {other:?}").into()),
    };
    let requests = SYMBOLS.map(str::as_bytes);
    let small = measure(&mut caller, STOCK_SUMMARY, &requests, calls)?;
    let large = measure(&mut caller, TEMPERATURE_SUMMARY, &[&temperatures], calls)?;

    println!(r#"{{"stocks": {:?}, "temperatures": {:?}, "unknown": {unknown},"#, small.replies, large.replies);
    println!(r#" "small_ns": {:?}, "large_ns": {:?}}}"#, small.nanoseconds, large.nanoseconds);
    Ok(())
}

/// One reply for each request, and the round trip of each call in nanoseconds.
struct Measured {
    replies: Vec<Vec<u8>>,
    nanoseconds: Vec<u128>,
}

/// Makes `calls` calls, with the requests in turn.
fn measure(caller: &mut Caller, msg_type: u16, requests: &[&[u8]], calls: usize) -> Result<Measured, Box<dyn Error>> {
    let mut replies = Vec::new();
    for request in requests {
        replies.push(caller.call_timeout(msg_type, request, LIMIT)?.to_vec());
    }
    let mut nanoseconds = Vec::with_capacity(calls);
    for (request, expected) in requests.iter().zip(&replies).cycle().take(calls) {
        let start = Instant::now();
        let reply = caller.call_timeout(msg_type, request, LIMIT)?;
        nanoseconds.push(start.elapsed().as_nanos());
        if *reply != **expected {
            return Err(format!("msg_type {msg_type} gave two different replies to one request").into());
        }
    }
    Ok(Measured { replies, nanoseconds })
}
