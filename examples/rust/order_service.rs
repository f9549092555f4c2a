//! A service of four typed endpoints with state: an order book. Its callers are `order_caller` in either language.
//!
//! The Python caller's types were generated from this program while it ran:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin order_service -- SOCKET
//! tachyon codegen python SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use core::fmt;
use std::collections::BTreeMap;
use std::error::Error;

use tachyon::{Callee, Dispatcher, Options, endpoints, tachyon_rpc};

/// Which way an order goes.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Side {
    /// To buy.
    Buy = 1,
    /// To sell.
    Sell = 2,
}

/// What somebody wants to buy or sell.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// In cents.
    pub price: u64,
    /// How many.
    pub quantity: u32,
    /// Which way.
    pub side: Side,
    /// Who, as text filled up with zeros.
    pub account: [u8; 3],
}

/// The best prices, in cents; 0 where there is no order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// The highest that somebody buys at.
    pub bid: u64,
    /// The lowest that somebody sells at.
    pub ask: u64,
}

/// What the endpoints share.
#[derive(Default)]
struct Book {
    orders: BTreeMap<u64, Order>,
    placed: u64,
}

/// Why an order was not placed.
struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an order of nothing")
    }
}

/// Places an order and gives its number.
#[tachyon_rpc(msg_type = 1)]
fn place(#[state] book: &mut Book, order: &Order) -> Result<u64, Empty> {
    if order.quantity == 0 {
        return Err(Empty);
    }
    book.placed += 1;
    book.orders.insert(book.placed, *order);
    Ok(book.placed)
}

/// Takes an order back, and says whether it was there.
#[tachyon_rpc(msg_type = 2)]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "requests are borrowed where they lie")]
fn cancel(#[state] book: &mut Book, number: &u64) -> bool {
    book.orders.remove(number).is_some()
}

/// The best prices on both sides.
#[tachyon_rpc(msg_type = 3)]
fn quote(#[state] book: &Book) -> Quote {
    let of = |side| book.orders.values().filter(move |order| order.side == side).map(|order| order.price);
    Quote { bid: of(Side::Buy).max().unwrap_or(0), ask: of(Side::Sell).min().unwrap_or(0) }
}

/// The orders of these numbers, without those that are gone.
#[tachyon_rpc(msg_type = 4)]
fn find(#[state] book: &Book, numbers: &[u64]) -> Vec<Order> {
    numbers.iter().filter_map(|number| book.orders.get(number)).copied().collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: order_service SOCKET")?;
    let mut dispatcher = Dispatcher::with_state(Book::default(), endpoints![place, cancel, quote, find]);
    // `tachyon describe` and `tachyon codegen` can ask while this waits for its caller.
    let options = Options::new().description(dispatcher.describe().to_json());
    let mut callee = Callee::listen_with(path, 1 << 16, 1 << 16, &options)?;
    dispatcher.serve_forever(&mut callee)?;
    println!("{} orders are left", dispatcher.state().orders.len());
    Ok(())
}
