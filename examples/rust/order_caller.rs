//! Calls the order book. `tachyon codegen rust` generated `order_api` from the Python service.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin order_caller -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

#[allow(dead_code, unreachable_pub, clippy::trivially_copy_pass_by_ref, reason = "generated code")]
mod order_api;

use std::error::Error;
use std::time::Duration;

use order_api::{EndpointsClient, Order, Side};
use tachyon::{CallError, Caller};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: order_caller SOCKET")?;
    let mut caller = Caller::connect(path)?;
    let mut book = EndpointsClient::new(&mut caller).within(Duration::from_secs(5));
    let order = |price, side| Order { price, quantity: 10, side, account: *b"me\0" };

    let mut numbers = Vec::new();
    for (price, side) in [(9_900, Side::Buy), (10_000, Side::Buy), (10_100, Side::Sell)] {
        numbers.push(book.place(&order(price, side))?);
    }
    let quote = book.quote()?;
    println!("placed {numbers:?}, bid {}, ask {}", quote.bid, quote.ask);

    let first = book.cancel(&2)?;
    let again = book.cancel(&2)?;
    println!("cancelled {}, bid {}", u32::from(first) + u32::from(again), book.quote()?.bid);

    let found = book.find(&numbers)?;
    let prices: Vec<u64> = found.iter().map(|order| order.price).collect();
    println!("found {prices:?} of {}", found.iter().map(|order| order.quantity).sum::<u32>());

    match book.place(&Order { quantity: 0, ..order(1, Side::Buy) }) {
        Err(CallError::Remote(error)) => println!("refused: {}", error.text.trim_start_matches("ValueError: ")),
        other => return Err(format!("the service should refuse an order of quantity 0, got {other:?}").into()),
    }
    Ok(())
}
