//! Payloads, endpoints with state, and a service, which both processes of the typed tests share.

#![allow(clippy::missing_errors_doc, reason = "endpoints of tests")]

use core::fmt;
use std::collections::HashMap;

use tachyon::dispatch::{ReplySlot, SlotError};
use tachyon::{Context, tachyon_rpc};

use crate::proc::is_shared;

/// The side of an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// A buyer's order.
    Buy = 1,
    /// A seller's order.
    Sell = 2,
}

/// Asks for a price.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceRequest {
    /// The number of the instrument.
    pub instrument: u64,
    /// The quantity. A larger quantity has a wider spread.
    pub quantity: i64,
}

/// The price of a request.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceReply {
    /// For a seller.
    pub bid: f64,
    /// For a buyer.
    pub ask: f64,
}

/// An order, with a nested payload, an array, and types with invalid bit patterns.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// The price request.
    pub price: PriceRequest,
    /// The account's name, padded with zeros.
    pub account: [u8; 6],
    /// Buy or sell.
    pub side: Side,
    /// Whether the order may be filled in part.
    pub partial: bool,
}

/// The state of the endpoints.
#[derive(Debug, Default)]
pub struct Book {
    /// Middle prices by instrument.
    pub prices: HashMap<u64, f64>,
    /// The number of orders so far.
    pub orders: u64,
}

/// The error of a request for an unknown instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown(pub u64);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instrument {} is not known", self.0)
    }
}

fn price_of(book: &Book, request: &PriceRequest) -> Result<PriceReply, Unknown> {
    let middle = *book.prices.get(&request.instrument).ok_or(Unknown(request.instrument))?;
    let spread = f64::from(u32::try_from(request.quantity).unwrap_or_default()) / 100.0;
    Ok(PriceReply { bid: middle - spread, ask: middle + spread })
}

/// Sends the request back.
#[tachyon_rpc(msg_type = 1)]
pub fn echo(payload: &[u8]) -> &[u8] {
    payload
}

/// Prices an instrument.
#[tachyon_rpc(msg_type = 2)]
pub fn price(#[state] book: &Book, request: &PriceRequest) -> Result<PriceReply, Unknown> {
    price_of(book, request)
}

/// Takes an order and returns its number.
#[tachyon_rpc(msg_type = 3)]
pub fn order(#[state] book: &mut Book, _order: &Order) -> u64 {
    book.orders += 1;
    book.orders
}

/// The sum of numbers.
#[tachyon_rpc(msg_type = 4)]
pub fn sum(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

/// All prices, by instrument.
#[tachyon_rpc(msg_type = 5)]
pub fn prices(#[state] book: &Book) -> Vec<PriceReply> {
    let mut instruments: Vec<_> = book.prices.keys().copied().collect();
    instruments.sort_unstable();
    instruments
        .into_iter()
        .filter_map(|instrument| price_of(book, &PriceRequest { instrument, quantity: 0 }).ok())
        .collect()
}

/// Does nothing.
#[tachyon_rpc(msg_type = 6)]
pub fn nothing() {}

/// The first squares, written in place.
#[tachyon_rpc(msg_type = 7)]
pub fn squares(count: &u32, reply: ReplySlot<'_, [u64]>) -> Result<(), SlotError> {
    let mut squares = reply.reserve(*count as usize)?;
    for (number, square) in (0..).zip(squares.iter_mut()) {
        *square = number * number;
    }
    squares.commit();
    Ok(())
}

/// The metadata of the request, and the length of the text.
#[tachyon_rpc(msg_type = 50)]
pub fn described(#[context] cx: &Context<'_>, text: &str, times: u32) -> String {
    entries(cx) + &text.repeat(times as usize).len().to_string()
}

/// As [`described`], for bytes.
#[tachyon_rpc(msg_type = 51)]
pub fn described_bytes(#[context] cx: &Context<'_>, payload: &[u8]) -> Vec<u8> {
    (entries(cx) + &payload.len().to_string()).into_bytes()
}

fn entries(cx: &Context<'_>) -> String {
    cx.metadata().iter().flat_map(|(key, value)| [key, "=", value, " "]).collect()
}

/// Never answers.
#[tachyon_rpc(msg_type = 8)]
pub fn silent(reply: ReplySlot<'_>) {
    drop(reply);
}

/// The side of each order.
#[tachyon_rpc(msg_type = 9)]
pub fn sides(orders: &[Order]) -> Vec<Side> {
    orders.iter().map(|order| order.side).collect()
}

/// The opposite order, written in place.
#[tachyon_rpc(msg_type = 10)]
pub fn turned(order: &Order, reply: ReplySlot<'_, Order>) -> Result<(), SlotError> {
    let side = if order.side == Side::Buy { Side::Sell } else { Side::Buy };
    reply.write(&Order { side, ..*order })
}

/// Writes a payload in place.
#[tachyon_rpc(msg_type = 21)]
pub fn in_place(bid: &f64, reply: ReplySlot<'_, PriceReply>) -> Result<(), SlotError> {
    let mut price = reply.reserve()?;
    price.bid = *bid;
    price.ask = price.bid + 1.0;
    price.commit();
    Ok(())
}

/// Commits zeros, which are no valid order.
#[tachyon_rpc(msg_type = 22)]
pub fn no_zero(reply: ReplySlot<'_, Order>) -> Result<(), SlotError> {
    reply.reserve()?.commit();
    Ok(())
}

/// Reserves zeros, which are valid flags, and commits fewer than it reserved.
#[tachyon_rpc(msg_type = 23)]
pub fn flags(count: &u32, reply: ReplySlot<'_, [bool]>) -> Result<(), SlotError> {
    let mut flags = reply.reserve(64)?;
    flags[0] = true;
    flags.commit_first(*count as usize);
    Ok(())
}

/// Whether the reserved reply lies in shared memory: flags have invalid bit patterns.
#[tachyon_rpc(msg_type = 25)]
pub fn flags_reached(reply: ReplySlot<'_, [bool]>) -> Result<(), SlotError> {
    let mut flags = reply.reserve(1)?;
    flags[0] = is_shared(flags.as_ptr());
    flags.commit();
    Ok(())
}

/// Whether the reserved reply lies in shared memory: every bit pattern is a number.
#[tachyon_rpc(msg_type = 26)]
pub fn numbers_reached(reply: ReplySlot<'_, [u8]>) -> Result<(), SlotError> {
    let mut numbers = reply.reserve(1)?;
    numbers[0] = is_shared(numbers.as_ptr()).into();
    numbers.commit();
    Ok(())
}

/// Reserves a reply and withdraws it.
#[tachyon_rpc(msg_type = 24)]
pub fn withdrawn(reply: ReplySlot<'_>) -> Result<(), String> {
    let room = reply.reserve(100).map_err(|error| error.to_string())?;
    drop(room);
    Err("withdrawn".to_owned())
}

/// Prices and orders, as a service.
#[tachyon_rpc]
pub trait Pricing {
    /// Prices an instrument.
    #[rpc(msg_type = 101)]
    fn price(&self, request: &PriceRequest) -> Result<PriceReply, Unknown>;

    /// Takes an order and returns its number.
    #[rpc(msg_type = 102)]
    fn order(&mut self, order: &Order) -> Result<u64, Unknown>;

    /// The number of orders so far.
    #[rpc(msg_type = 103)]
    fn orders(&self) -> u64;

    /// Running sums, written in place.
    #[rpc(msg_type = 104)]
    fn running(&self, numbers: &[f64], reply: ReplySlot<'_, [f64]>) -> Result<(), SlotError> {
        let mut sums = reply.reserve(numbers.len())?;
        let mut sum = 0.0;
        for (number, place) in numbers.iter().zip(sums.iter_mut()) {
            sum += number;
            *place = sum;
        }
        sums.commit();
        Ok(())
    }

    /// Clears the book.
    #[rpc(msg_type = 105)]
    fn reset(&mut self);
}

impl Pricing for Book {
    fn price(&self, request: &PriceRequest) -> Result<PriceReply, Unknown> {
        price_of(self, request)
    }

    fn order(&mut self, order: &Order) -> Result<u64, Unknown> {
        price_of(self, &order.price)?;
        self.orders += 1;
        Ok(self.orders)
    }

    fn orders(&self) -> u64 {
        self.orders
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A book with two instruments.
pub fn book() -> Book {
    Book { prices: HashMap::from([(7, 100.0), (8, 20.0)]), orders: 0 }
}

/// Bytes of a frame: more than the stack of most threads.
pub const PIXELS: usize = 3 << 20;

/// A frame that a handler reads in the ring.
#[tachyon::payload]
pub struct Frame {
    /// The pixels.
    pub pixels: [u8; PIXELS],
}

/// A frame that is copied before a handler reads it, because a `bool` has invalid bit patterns.
#[tachyon::payload]
pub struct MarkedFrame {
    /// The pixels.
    pub pixels: [u8; PIXELS],
    /// Whether the frame is marked.
    pub marked: bool,
}

/// The last pixel of a frame.
#[tachyon_rpc(msg_type = 40)]
pub fn last_pixel(frame: &Frame) -> u8 {
    frame.pixels[PIXELS - 1]
}

/// The last pixel of a frame that is marked.
#[tachyon_rpc(msg_type = 41)]
pub fn marked_pixel(frame: &MarkedFrame) -> Option<u8> {
    frame.marked.then(|| frame.pixels[PIXELS - 1])
}
