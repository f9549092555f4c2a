//! Endpoints of every form, which tell the context of their call, and `async` endpoints of every form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::dispatch::{ReplySlot, SlotError};
use tachyon::{Context, ErrorKind, HandlerError, Layer, tachyon_rpc};

/// A context as text: message type, name, process of the caller, bytes of the request, whether there is a deadline, and
/// the metadata.
pub fn shown(cx: &Context<'_>) -> String {
    let metadata: Vec<_> = cx.metadata().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let due = if cx.remaining().is_some() { "due" } else { "for ever" };
    let pid = cx.caller.pid.unwrap_or_default();
    format!("{} {} {pid} {} {due} {}", cx.msg_type, cx.name, cx.request_size, metadata.join(","))
}

/// The number of the closure with a context.
pub const CLOSURE: u16 = 3;
/// The number of the async closure with a context.
pub const ASYNC_CLOSURE: u16 = 4;
/// The number of an endpoint from bytes to bytes.
pub const RAW: u16 = 10;
/// The number of an endpoint that calls another server.
pub const RELAY: u16 = 30;
/// The number of an async endpoint that calls another server.
pub const ASYNC_RELAY: u16 = 31;
/// The number of an endpoint that ends the server.
pub const STOP: u16 = 11;

/// Tells its context.
#[tachyon_rpc(msg_type = 1)]
pub fn plain(#[context] cx: &Context<'_>, _padding: &[u8]) -> String {
    shown(cx)
}

/// Tells its context in place.
///
/// # Errors
/// There is no room.
#[tachyon_rpc(msg_type = 2)]
pub fn slot(#[context] cx: &Context<'_>, _padding: &[u8], reply: ReplySlot<'_>) -> Result<(), SlotError> {
    reply.write(shown(cx).as_bytes())
}

/// Tells its context after a while.
#[tachyon_rpc(msg_type = 5)]
pub async fn later(#[context] cx: &Context<'_>, _padding: Vec<u8>) -> String {
    tokio::task::yield_now().await;
    shown(cx)
}

/// Keeps the thread, and tells its context.
#[tachyon_rpc(msg_type = 8)]
pub fn slow(#[context] cx: &Context<'_>, millis: u64) -> String {
    std::thread::sleep(Duration::from_millis(millis));
    shown(cx)
}

/// Waits, and tells its context.
#[tachyon_rpc(msg_type = 9)]
pub async fn nap(#[context] cx: &Context<'_>, millis: u64) -> String {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    shown(cx)
}

/// Calls whose threads have seen their cancellation.
static CANCELLED: AtomicU64 = AtomicU64::new(0);

/// Starts a thread that looks for the cancellation of the call, and does not end by itself.
#[tachyon_rpc(msg_type = 12)]
pub async fn watched(#[context] cx: &Context<'_>) {
    let cx = cx.to_owned();
    std::thread::spawn(move || {
        while !cx.get().is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        CANCELLED.fetch_add(1, Ordering::Relaxed);
    });
    std::future::pending::<()>().await;
}

/// The number of cancelled calls of [`watched`].
#[tachyon_rpc(msg_type = 13)]
pub fn cancelled() -> u64 {
    CANCELLED.load(Ordering::Relaxed)
}

/// The points that a sensor saw.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Its frame.
    pub frame: String,
    /// The points.
    pub points: Vec<f64>,
}

/// Why there is no scan.
#[tachyon::error]
#[derive(PartialEq)]
pub enum ScanError {
    /// No sensor has this number.
    #[error("no sensor {sensor}")]
    NoSensor {
        /// The number.
        sensor: u32,
    },
}

/// Several owned arguments, the state, and a declared error.
///
/// # Errors
/// No sensor is 0.
#[tachyon_rpc(msg_type = 14)]
pub async fn merge(
    #[state] merged: &AtomicU64,
    scan: Scan,
    sensors: Vec<u32>,
    more: Option<Scan>,
    note: Option<String>,
) -> Result<Scan, ScanError> {
    tokio::task::yield_now().await;
    if let Some(sensor) = sensors.iter().find(|sensor| **sensor == 0) {
        return Err(ScanError::NoSensor { sensor: *sensor });
    }
    merged.fetch_add(1, Ordering::Relaxed);
    let points = [scan.points, more.map(|more| more.points).unwrap_or_default()].concat();
    Ok(Scan { frame: format!("{}{}", scan.frame, note.unwrap_or_default()), points })
}

/// An error that travels as its text.
///
/// # Errors
/// The text is no number.
#[tachyon_rpc(msg_type = 15)]
pub async fn parse(text: String) -> Result<Option<u64>, std::num::ParseIntError> {
    tokio::task::yield_now().await;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Panics.
///
/// # Panics
/// Always.
#[tachyon_rpc(msg_type = 16)]
pub async fn panics() -> u64 {
    tokio::task::yield_now().await;
    panic!("on purpose")
}

/// The number of merged scans.
#[tachyon_rpc(msg_type = 17)]
pub fn merged(#[state] merged: &AtomicU64) -> u64 {
    merged.load(Ordering::Relaxed)
}

/// Takes a map, and counts the call.
///
/// # Errors
/// No sensor is 0.
#[tachyon_rpc(msg_type = 18, codec = "msgpack")]
pub async fn largest(
    #[state] merged: &AtomicU64,
    #[context] cx: &Context<'_>,
    readings: BTreeMap<u64, (String, f64)>,
    least: Option<f64>,
) -> Result<Option<(String, f64)>, ScanError> {
    tokio::task::yield_now().await;
    if readings.contains_key(&0) {
        return Err(ScanError::NoSensor { sensor: 0 });
    }
    merged.fetch_add(1, Ordering::Relaxed);
    let largest = readings.into_values().max_by(|a, b| a.1.total_cmp(&b.1));
    Ok(largest
        .filter(|(_, value)| least.is_none_or(|least| *value >= least))
        .map(|(name, value)| (name + cx.name, value)))
}

/// A service with plain and `async` methods.
#[tachyon_rpc]
pub trait Shelf {
    /// Tells its context.
    #[rpc(msg_type = 20)]
    fn at_once(&self, #[context] cx: &Context<'_>, padding: &[u8]) -> String;

    /// Tells its context after a while.
    #[rpc(msg_type = 21)]
    async fn in_time(&self, #[context] cx: &Context<'_>, padding: Vec<u8>) -> String;

    /// Has a body in the trait.
    #[rpc(msg_type = 22)]
    async fn twice(&self, number: u64) -> Result<u64, ScanError> {
        tokio::task::yield_now().await;
        u32::try_from(number).map(|number| u64::from(number) * 2).map_err(|_| ScanError::NoSensor { sensor: 0 })
    }

    /// Counts the letters of texts.
    #[rpc(msg_type = 24, codec = "msgpack")]
    async fn lengths(&self, texts: BTreeSet<String>) -> BTreeMap<String, usize>;

    /// The number of calls so far.
    #[rpc(msg_type = 23)]
    fn calls(&self) -> u64;
}

/// The implementor.
#[derive(Debug, Default)]
pub struct Counter(pub AtomicU64);

impl Shelf for Counter {
    fn at_once(&self, cx: &Context<'_>, _padding: &[u8]) -> String {
        self.0.fetch_add(1, Ordering::Relaxed);
        shown(cx)
    }

    async fn in_time(&self, cx: &Context<'_>, _padding: Vec<u8>) -> String {
        tokio::task::yield_now().await;
        self.0.fetch_add(1, Ordering::Relaxed);
        shown(cx)
    }

    async fn lengths(&self, texts: BTreeSet<String>) -> BTreeMap<String, usize> {
        tokio::task::yield_now().await;
        texts.into_iter().map(|text| (text.clone(), text.len())).collect()
    }

    fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses calls with the metadata `refuse`, with its value as the text, and panics for the value `panic`.
#[derive(Debug)]
pub struct Refusing;

impl Layer for Refusing {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        match call.metadata().get("refuse") {
            None => Ok(()),
            Some("panic") => panic!("as told"),
            Some(text) => Err(HandlerError::new(ErrorKind::Unauthenticated, text)),
        }
    }
}
