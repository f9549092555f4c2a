//! A service of four typed endpoints with state: an order book. Its callers are `order_caller` in either language.
//!
//! `tachyon codegen` generates the Python caller's types from this program while it runs:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin order_service -- SOCKET
//! tachyon codegen python SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use core::fmt;
use std::collections::BTreeMap;
use std::error::Error;

use tachyon::{Callee, Dispatcher, Options, endpoints, tachyon_rpc};

/// The direction of an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Side {
    /// An order to buy.
    Buy = 1,
    /// An order to sell.
    Sell = 2,
}

/// An order to buy or to sell.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// The limit in cents.
    pub price: u64,
    /// The number of units.
    pub quantity: u32,
    /// The direction.
    pub side: Side,
    /// The account, as text padded with zeros.
    pub account: [u8; 3],
}

/// The best prices in cents; 0 without an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// The highest price of an order to buy.
    pub bid: u64,
    /// The lowest price of an order to sell.
    pub ask: u64,
}

/// The state of the endpoints.
#[derive(Default)]
struct Book {
    orders: BTreeMap<u64, Order>,
    placed: u64,
}

/// The error for an order without units.
struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("quantity must be at least 1")
    }
}

/// Places an order and returns its number.
#[tachyon_rpc(msg_type = 1)]
fn place(#[state] book: &mut Book, order: &Order) -> Result<u64, Empty> {
    if order.quantity == 0 {
        return Err(Empty);
    }
    book.placed += 1;
    book.orders.insert(book.placed, *order);
    Ok(book.placed)
}

/// Cancels an order, and returns whether it existed.
#[tachyon_rpc(msg_type = 2)]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "requests are borrowed in place")]
fn cancel(#[state] book: &mut Book, number: &u64) -> bool {
    book.orders.remove(number).is_some()
}

/// Returns the best prices of both directions.
#[tachyon_rpc(msg_type = 3)]
fn quote(#[state] book: &Book) -> Quote {
    let of = |side| book.orders.values().filter(move |order| order.side == side).map(|order| order.price);
    Quote { bid: of(Side::Buy).max().unwrap_or(0), ask: of(Side::Sell).min().unwrap_or(0) }
}

/// Returns the existing orders with these numbers.
#[tachyon_rpc(msg_type = 4)]
fn find(#[state] book: &Book, numbers: &[u64]) -> Vec<Order> {
    numbers.iter().filter_map(|number| book.orders.get(number)).copied().collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: order_service SOCKET")?;
    let mut dispatcher = Dispatcher::with_state(Book::default(), endpoints![place, cancel, quote, find]);
    // `tachyon describe` and `tachyon codegen` can ask while the service waits for its caller.
    let options = Options::new().description(dispatcher.describe().to_json());
    let mut callee = Callee::listen_with(path, 1 << 16, 1 << 16, &options)?;
    dispatcher.serve_forever(&mut callee)?;
    println!("{} orders are left", dispatcher.state().orders.len());
    Ok(())
}
