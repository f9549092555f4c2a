//! A contract of streams: each form of a returned iterator, each type of item, each way to fail, and a service.

#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc, reason = "endpoints of tests")]

use std::sync::atomic::{AtomicU32, Ordering};

use tachyon::dispatch::Entry;
use tachyon::{Context, ErrorKind, HandlerError, Tensor, endpoints, tachyon_rpc};

/// A fixed request.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The instrument.
    pub instrument: u32,
    /// The number of quotes.
    pub count: u32,
}

/// A fixed item.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// The price.
    pub price: f64,
    /// The instrument.
    pub instrument: u32,
    /// The number of the quote.
    pub number: u32,
}

/// An item with a head.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number of the line.
    pub number: u32,
    /// The text.
    pub text: String,
    /// The remark.
    pub note: Option<String>,
}

/// The errors of the shop.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockError {
    /// There is no more.
    #[error("{left} left")]
    SoldOut {
        /// What is left.
        left: u32,
    },
    /// The shop is closed.
    #[error("closed")]
    Closed,
}

/// The state of endpoints.
#[derive(Debug, Default)]
pub struct Shop {
    /// The number of streams so far.
    pub opened: AtomicU32,
}

/// Numbers.
#[tachyon_rpc(msg_type = 1)]
pub fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

/// Texts, of an argument that is a text.
#[tachyon_rpc(msg_type = 2)]
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Fixed payloads, of a fixed payload.
#[tachyon_rpc(msg_type = 3)]
pub fn quotes(query: &Query) -> impl Iterator<Item = Quote> + Send {
    let Query { instrument, count } = *query;
    (0..count).map(move |number| Quote { price: f64::from(number) / 2.0, instrument, number })
}

/// Payloads with a head, of several arguments.
#[tachyon_rpc(msg_type = 4)]
pub fn lines(from: u32, texts: &[u8], note: Option<&str>) -> impl DoubleEndedIterator<Item = Line> + 'static {
    let (texts, note) = (texts.to_vec(), note.map(str::to_owned));
    let line = move |(at, len): (u32, u8)| Line { number: from + at, text: "x".repeat(len.into()), note: note.clone() };
    (0..).zip(texts).collect::<Vec<_>>().into_iter().map(line)
}

/// Lists.
#[tachyon_rpc(msg_type = 5)]
pub fn rows(count: u32) -> impl Iterator<Item = Vec<f64>> {
    (0..count).map(|row| vec![f64::from(row); row as usize])
}

/// Values that may be absent.
#[tachyon_rpc(msg_type = 6)]
pub fn maybe(count: u32) -> impl Iterator<Item = Option<u32>> {
    (0..count).map(|number| (number % 2 == 0).then_some(number))
}

/// A tensor of `side` rows.
pub fn frame(side: usize) -> Tensor<f32, 2> {
    Tensor::new([side, 2], vec![0.5; side * 2]).expect("the shape has so many values")
}

/// Tensors.
#[tachyon_rpc(msg_type = 7)]
pub fn frames(count: u32) -> impl Iterator<Item = Tensor<f32, 2>> {
    (1..=count).map(|side| frame(side as usize))
}

/// Borrowed constants.
#[tachyon_rpc(msg_type = 8)]
pub fn colours() -> impl Iterator<Item = &'static str> {
    ["red", "green"].into_iter()
}

/// Bytes.
#[tachyon_rpc(msg_type = 9)]
pub fn chunks(bytes: &[u8], size: u32) -> impl Iterator<Item = Vec<u8>> {
    bytes.chunks(size as usize).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
}

/// Nothing, several times.
#[tachyon_rpc(msg_type = 10)]
pub fn ticks(count: u32) -> impl Iterator<Item = ()> {
    (0..count).map(|_| ())
}

/// A declared error after the items.
#[tachyon_rpc(msg_type = 11)]
pub fn sell(stock: u32, wanted: u32) -> impl Iterator<Item = Result<u32, StockError>> {
    (0..wanted).map(move |number| if number < stock { Ok(number) } else { Err(StockError::SoldOut { left: 0 }) })
}

/// A text after the items.
#[tachyon_rpc(msg_type = 12)]
pub fn parse(texts: &str) -> impl Iterator<Item = Result<u32, std::num::ParseIntError>> {
    texts.split(',').map(str::parse).collect::<Vec<_>>().into_iter()
}

/// An error with a kind after the items.
#[tachyon_rpc(msg_type = 13)]
pub fn abort(after: u32) -> impl Iterator<Item = Result<u32, HandlerError>> {
    let fails = |number| Err(HandlerError::new(ErrorKind::Aborted, &format!("at {number}")));
    (0..=after).map(move |number| if number == after { fails(number) } else { Ok(number) })
}

/// An error before the first item.
#[tachyon_rpc(msg_type = 14)]
pub fn stock(of: &str) -> Result<impl Iterator<Item = u32>, StockError> {
    if of.is_empty() { Err(StockError::Closed) } else { Ok(of.bytes().map(u32::from).collect::<Vec<_>>().into_iter()) }
}

/// An error before the first item, or after some.
#[tachyon_rpc(msg_type = 15)]
pub fn order(count: u32) -> Result<impl Iterator<Item = Result<u32, StockError>>, StockError> {
    if count == 0 {
        return Err(StockError::Closed);
    }
    Ok((1..=count).rev().map(|left| if left == 1 { Err(StockError::SoldOut { left }) } else { Ok(left) }))
}

/// An iterator of a type that is known when the program runs.
#[tachyon_rpc(msg_type = 16)]
pub fn boxed(to: u32, down: bool) -> Box<dyn Iterator<Item = u32> + Send> {
    if down { Box::new((0..to).rev()) } else { Box::new(0..to) }
}

/// Reads the state and the context.
#[tachyon_rpc(msg_type = 17)]
pub fn visits(#[state] shop: &Shop, #[context] cx: &Context<'_>, times: u32) -> impl Iterator<Item = String> {
    let (opened, name) = (shop.opened.fetch_add(1, Ordering::Relaxed), cx.name.to_owned());
    (0..times).map(move |number| format!("{name} {opened}.{number}"))
}

/// Changes the state.
#[tachyon_rpc(msg_type = 18)]
pub fn reset(#[state] shop: &mut Shop, to: u32) -> Result<impl Iterator<Item = u32>, &'static str> {
    let before = std::mem::replace(shop.opened.get_mut(), to);
    if to > 100 { Err("too many") } else { Ok([before, to].into_iter()) }
}

/// One reply.
#[tachyon_rpc(msg_type = 19)]
pub fn double(number: u32) -> u32 {
    number * 2
}

/// The table of a state that is shared.
pub const SHARED: &[Entry<Shop>] = endpoints![
    count, words, quotes, lines, rows, maybe, frames, colours, chunks, ticks, sell, parse, abort, stock, order, boxed,
    visits, double,
];

/// The table of a state that one thread changes.
pub const EXCLUSIVE: &[Entry<Shop>] = endpoints![visits, reset];

/// A service with streams.
#[tachyon_rpc]
pub trait Market {
    /// A stream.
    #[rpc(msg_type = 31)]
    fn quotes(&self, instrument: u32, count: &Query) -> impl Iterator<Item = Quote> + 'static;

    /// A stream that can fail.
    #[rpc(msg_type = 32)]
    fn trades(&mut self, of: &str) -> Result<impl Iterator<Item = u64> + Send + 'static, StockError>;

    /// A stream of any iterator.
    #[rpc(msg_type = 33)]
    fn levels(&self, down: bool) -> Box<dyn Iterator<Item = Result<u32, StockError>> + Send>;

    /// One reply.
    #[rpc(msg_type = 34)]
    fn total(&self) -> u64;
}

/// A market.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The sum of all trades.
    pub total: u64,
}

impl Market for Exchange {
    fn quotes(&self, instrument: u32, query: &Query) -> impl Iterator<Item = Quote> + 'static {
        let (base, count) = (query.instrument, query.count);
        (0..count).map(move |number| Quote { price: f64::from(base), instrument, number })
    }

    fn trades(&mut self, of: &str) -> Result<impl Iterator<Item = u64> + Send + 'static, StockError> {
        if of.is_empty() {
            return Err(StockError::Closed);
        }
        self.total += of.len() as u64;
        Ok(0..of.len() as u64)
    }

    fn levels(&self, down: bool) -> Box<dyn Iterator<Item = Result<u32, StockError>> + Send> {
        if down {
            Box::new([Ok(2), Ok(1), Err(StockError::SoldOut { left: 0 })].into_iter())
        } else {
            Box::new([Ok(1)].into_iter())
        }
    }

    fn total(&self) -> u64 {
        self.total
    }
}
