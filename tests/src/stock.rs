//! Endpoints of every kind, for callers that reach them through a proxy or a link.

use std::time::Duration;

use tachyon::{Context, Dispatcher, ItemError, Items, RegisterError, StreamSender, endpoints, tachyon_rpc};

/// The raw endpoint that returns its request.
pub const ECHO: u16 = 1;
/// The raw endpoint whose reply has as many bytes as its request says, in four bytes.
pub const BYTES: u16 = 2;

/// There are too few of an article.
#[tachyon::error]
#[derive(Debug, PartialEq, Eq)]
pub enum StockError {
    /// So many are missing.
    #[error("{missing} of {article} are missing", kind = ResourceExhausted)]
    Missing {
        /// The article.
        article: String,
        /// The number.
        missing: u32,
    },
}

/// Takes articles out of a stock of five.
///
/// # Errors
/// There are not so many.
#[tachyon_rpc(msg_type = 10)]
pub fn take(article: &str, count: u32) -> Result<u32, StockError> {
    match 5_u32.checked_sub(count) {
        Some(left) => Ok(left),
        None => Err(StockError::Missing { article: article.to_owned(), missing: count - 5 }),
    }
}

/// Counts.
#[tachyon_rpc(msg_type = 11)]
pub fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

/// Adds numbers.
///
/// # Errors
/// Those of an item.
#[tachyon_rpc(msg_type = 12)]
pub fn sum(numbers: Items<u32>) -> Result<u64, ItemError> {
    let mut sum = 0;
    for number in numbers {
        sum += u64::from(number?);
    }
    Ok(sum)
}

/// Doubles numbers.
///
/// # Errors
/// Those of an item.
#[tachyon_rpc(msg_type = 13)]
pub fn double(numbers: Items<u32>, out: StreamSender<u32>) -> Result<(), ItemError> {
    for number in numbers {
        out.blocking_send(number? * 2)?;
    }
    Ok(())
}

/// Tells entries of the metadata, and whether there is a deadline.
#[tachyon_rpc(msg_type = 14)]
pub fn tenant(#[context] cx: &Context<'_>) -> String {
    let entry = |key| cx.metadata().get(key).unwrap_or("-").to_owned();
    format!("{} {} {}", entry("tenant"), entry("link.origin"), cx.remaining().is_some())
}

/// Takes its time, and tells whether it was cancelled.
#[tachyon_rpc(msg_type = 15)]
pub fn ponder(#[context] cx: &Context<'_>, millis: u32) -> bool {
    for _ in 0..millis {
        if cx.is_cancelled() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Fails after some items.
#[tachyon_rpc(msg_type = 16)]
pub fn run_out(after: u32) -> impl Iterator<Item = Result<u32, StockError>> {
    let error = Err(StockError::Missing { article: "items".into(), missing: after });
    (0..after).map(Ok).chain([error])
}

/// Other declarations of endpoints of this module.
pub mod other {
    use super::{StockError, tachyon_rpc};

    /// Has another argument.
    ///
    /// # Errors
    /// The error of the other endpoint.
    #[tachyon_rpc(msg_type = 10)]
    pub fn take(article: &str, count: u64) -> Result<u32, StockError> {
        super::take(article, u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// A table of all endpoints.
///
/// # Errors
/// Never: each message type is used once.
pub fn dispatcher() -> Result<Dispatcher, RegisterError> {
    let mut dispatcher = Dispatcher::new(endpoints![take, count, sum, double, tenant, ponder, run_out]);
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec)?.register(BYTES, "bytes", |request: &[u8]| {
        let size = request.first_chunk().map_or(0, |size| u32::from_le_bytes(*size));
        vec![7_u8; size as usize]
    })?;
    Ok(dispatcher)
}

/// As [`dispatcher`], with one endpoint more.
///
/// # Errors
/// As [`dispatcher`].
pub fn larger_dispatcher() -> Result<Dispatcher, RegisterError> {
    let mut dispatcher = dispatcher()?;
    dispatcher.register(3, "more", |_: &[u8]| "more")?;
    Ok(dispatcher)
}
