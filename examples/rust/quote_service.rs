//! A service of prices with many callers, for the web application `examples/python/web_app.py`.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin quote_service -- /tmp/tachyon-quotes.sock
//! ```
//!
//! `quote_api.py` has the same contract. Ctrl-C or a SIGTERM stops the service in good order.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::Duration;

use tachyon::dispatch::Context;
use tachyon::{Dispatcher, RpcServer, endpoints, tachyon_rpc};

mod signals;

/// Prices of one share, in cents.
const PRICES: [(&str, u64); 3] = [("ACME", 12_350), ("GLOBEX", 990), ("HOOLI", 41_000)];

/// The price of a number of shares.
#[tachyon::payload]
struct Quote {
    symbol: String,
    quantity: u32,
    cents: u64,
}

/// The errors that the service declares.
#[tachyon::error]
enum QuoteError {
    /// No share has this symbol.
    #[error("no share has the symbol {symbol}")]
    UnknownSymbol { symbol: String },
    /// A quote is of one share at least.
    #[error("a quote is of one share at least")]
    NoShares,
}

fn price_of(symbol: &str) -> Result<u64, QuoteError> {
    let found = PRICES.iter().find(|(known, _)| *known == symbol);
    found.map(|(_, cents)| *cents).ok_or_else(|| QuoteError::UnknownSymbol { symbol: symbol.to_owned() })
}

/// Returns the price of a number of shares.
#[tachyon_rpc(msg_type = 1)]
fn quote(symbol: &str, quantity: u32) -> Result<Quote, QuoteError> {
    let cents = price_of(symbol)? * u64::from(quantity);
    if quantity == 0 {
        return Err(QuoteError::NoShares);
    }
    Ok(Quote { symbol: symbol.to_owned(), quantity, cents })
}

/// Returns the price of a share after some days, in cents. The work takes 10 ms a day, and ends early when the caller
/// stops waiting.
#[tachyon_rpc(msg_type = 2)]
fn forecast(#[context] context: &Context<'_>, symbol: &str, days: u32) -> Result<u64, QuoteError> {
    let mut cents = price_of(symbol)?;
    for _ in 0..days {
        if context.is_cancelled() {
            println!("gave up a forecast");
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        cents += cents / 100;
    }
    Ok(cents)
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: quote_service SOCKET")?;
    let mut server = RpcServer::listen(&socket)?;
    signals::stop_on_signals(server.stopper())?;
    println!("serving at {socket}");
    // A worker is busy while its forecast runs; other callers go to other workers.
    Dispatcher::new(endpoints![quote, forecast]).serve_workers(&mut server, 4)?;
    println!("stopped");
    Ok(())
}
