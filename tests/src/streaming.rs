//! A contract of streams: each form of a returned iterator, each type of item, each way to fail, and a service.

#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc, reason = "endpoints of tests")]

use std::sync::atomic::{AtomicU32, Ordering};

use tachyon::dispatch::Entry;
use tachyon::{Context, ErrorKind, HandlerError, ItemError, Items, StreamSender, Tensor, endpoints, tachyon_rpc};

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
        /// The rest.
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
    let fails = |number| Err(HandlerError::new(ErrorKind::Aborted, format!("at {number}")));
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

/// A client stream: bytes, with their length as the reply.
#[tachyon_rpc(msg_type = 20)]
pub fn upload(name: String, items: Items<Vec<u8>>) -> Result<String, HandlerError> {
    let mut len = 0;
    for item in items {
        len += item?.len();
    }
    Ok(format!("{name}: {len}"))
}

/// A client stream of fixed items, with a declared error in the middle.
#[tachyon_rpc(msg_type = 21)]
pub fn sum(items: Items<Quote>) -> Result<f64, StockError> {
    let mut sum = 0.0;
    for item in items {
        match item {
            Ok(quote) if quote.price < 0.0 => return Err(StockError::SoldOut { left: quote.number }),
            Ok(quote) => sum += quote.price,
            Err(_) => return Err(StockError::Closed),
        }
    }
    Ok(sum)
}

/// A two-way stream that returns an iterator.
#[tachyon_rpc(msg_type = 22)]
pub fn doubled(by: u32, items: Items<u32>) -> impl Iterator<Item = Result<u32, ItemError>> {
    items.map(move |item| item.map(|number| number * by))
}

/// A two-way stream that returns an iterator, or fails.
#[tachyon_rpc(msg_type = 23)]
pub fn labelled(labels: Vec<String>, items: Items<Line>) -> Result<impl Iterator<Item = String>, StockError> {
    if labels.is_empty() {
        return Err(StockError::Closed);
    }
    Ok(labels.into_iter().zip(items).map_while(|(label, item)| item.ok().map(|line| format!("{label} {}", line.text))))
}

/// A two-way stream.
#[tachyon_rpc(msg_type = 24)]
pub fn shout(items: Items<String>, out: StreamSender<String>) -> Result<(), ItemError> {
    for item in items {
        out.blocking_send(item?.to_uppercase().as_str())?;
    }
    Ok(())
}

/// A server stream that a thread sends.
#[tachyon_rpc(msg_type = 25)]
pub fn ticker(query: Query, out: StreamSender<Quote>) {
    for number in 0..query.count {
        let quote = Quote { price: 1.0, instrument: query.instrument, number };
        if out.blocking_send(quote).is_err() {
            return;
        }
    }
}

/// Reads the state and the context, and fails after its items.
#[tachyon_rpc(msg_type = 26)]
pub fn audit(
    #[state] shop: &Shop,
    #[context] cx: &Context<'_>,
    items: Items<Option<u32>>,
    out: StreamSender<Line>,
) -> Result<(), StockError> {
    for item in items {
        let Ok(Some(number)) = item else { return Err(StockError::Closed) };
        let line = Line { number, text: cx.name.to_owned(), note: None };
        shop.opened.fetch_add(number, Ordering::Relaxed);
        if out.blocking_send(&line).is_err() {
            return Ok(());
        }
    }
    Err(StockError::SoldOut { left: shop.opened.load(Ordering::Relaxed) })
}

/// A client stream of a task.
#[tachyon_rpc(msg_type = 27)]
pub async fn sum_later(mut items: Items<u32>) -> Result<u64, ItemError> {
    let mut sum = 0;
    while let Some(item) = items.recv().await {
        sum += u64::from(item?);
    }
    Ok(sum)
}

/// A two-way stream of a task.
#[tachyon_rpc(msg_type = 28)]
pub async fn shout_later(
    #[state] shop: &Shop,
    mut items: Items<String>,
    out: StreamSender<String>,
) -> Result<(), StockError> {
    shop.opened.fetch_add(1, Ordering::Relaxed);
    while let Some(Ok(item)) = items.recv().await {
        if item.is_empty() {
            return Err(StockError::Closed);
        }
        if out.send(item.to_uppercase().as_str()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A server stream of a task.
#[tachyon_rpc(msg_type = 29)]
pub async fn ticker_later(count: u32, out: StreamSender<u32>) {
    for number in 0..count {
        if out.send(number).await.is_err() {
            return;
        }
    }
}

/// The table of handlers on threads of their own.
pub const THREADS: &[Entry<Shop>] = endpoints![upload, sum, doubled, labelled, shout, ticker, audit, double];

/// The table of handlers that are tasks, beside others.
pub const TASKS: &[Entry<Shop>] = endpoints![sum_later, shout_later, ticker_later, ..SHARED, upload, shout, audit];

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

/// A service that takes items.
#[tachyon_rpc]
pub trait Store {
    /// A client stream.
    #[rpc(msg_type = 41)]
    fn put(&self, name: String, items: Items<Vec<u8>>) -> Result<u64, ItemError>;

    /// A two-way stream.
    #[rpc(msg_type = 42)]
    fn talk(&self, items: Items<Line>, out: StreamSender<String>) -> Result<(), StockError>;

    /// A two-way stream that returns an iterator.
    #[rpc(msg_type = 43)]
    fn back(&self, items: Items<u32>) -> impl Iterator<Item = Result<u32, ItemError>> + 'static;

    /// One reply.
    #[rpc(msg_type = 44)]
    fn stored(&self) -> u32;
}

impl Store for Shop {
    fn put(&self, name: String, mut items: Items<Vec<u8>>) -> Result<u64, ItemError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        items.try_fold(name.len() as u64, |len, item| Ok(len + item?.len() as u64))
    }

    fn talk(&self, items: Items<Line>, out: StreamSender<String>) -> Result<(), StockError> {
        for item in items {
            let Ok(line) = item else { return Ok(()) };
            let note = line.note.ok_or(StockError::SoldOut { left: line.number })?;
            if out.blocking_send(&note).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn back(&self, items: Items<u32>) -> impl Iterator<Item = Result<u32, ItemError>> + 'static {
        items
    }

    fn stored(&self) -> u32 {
        self.opened.load(Ordering::Relaxed)
    }
}

/// A service with streams of tasks.
#[tachyon_rpc]
pub trait Relay: Sync {
    /// A two-way stream.
    #[rpc(msg_type = 51)]
    async fn pass(&self, by: u32, items: Items<u32>, out: StreamSender<u32>) -> Result<(), ItemError>;

    /// A client stream.
    #[rpc(msg_type = 52)]
    async fn longest(&self, items: Items<String>) -> Result<String, StockError>;

    /// A server stream of the serving thread.
    #[rpc(msg_type = 53)]
    fn countdown(&self, from: u32) -> impl Iterator<Item = u32> + 'static;
}

impl Relay for Shop {
    async fn pass(&self, by: u32, mut items: Items<u32>, out: StreamSender<u32>) -> Result<(), ItemError> {
        while let Some(item) = items.recv().await {
            out.send(item? * by).await?;
        }
        Ok(())
    }

    async fn longest(&self, mut items: Items<String>) -> Result<String, StockError> {
        let mut longest = None;
        while let Some(item) = items.recv().await {
            let item = item.map_err(|_| StockError::Closed)?;
            longest = longest.filter(|found: &String| found.len() > item.len()).or(Some(item));
        }
        longest.ok_or(StockError::SoldOut { left: 0 })
    }

    fn countdown(&self, from: u32) -> impl Iterator<Item = u32> + 'static {
        (0..from).rev()
    }
}
