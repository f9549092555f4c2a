//! `async` endpoints and services, alone and beside plain ones.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(rust_2018_idioms, single_use_lifetimes, let_underscore_drop, clippy::all, clippy::pedantic)]

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tachyon::payload::Tensor;
use tachyon::{Context, Dispatcher, Endpoint, endpoints, tachyon_rpc};

/// A variable payload.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scan {
    pub(crate) frame: String,
    pub(crate) points: Vec<f64>,
}

#[tachyon::error]
#[derive(PartialEq)]
pub(crate) enum ScanError {
    #[error("no sensor {sensor}")]
    NoSensor { sensor: u32 },
}

/// No argument, no reply.
#[tachyon_rpc(msg_type = 1)]
async fn nothing() {
    ready(()).await;
}

/// One argument of each kind.
#[tachyon_rpc(msg_type = 2)]
async fn number(number: u64) -> u64 {
    ready(number).await
}

#[tachyon_rpc(msg_type = 3)]
async fn text(text: String) -> String {
    ready(text).await
}

#[tachyon_rpc(msg_type = 4)]
async fn bytes(bytes: Vec<u8>) -> Vec<u8> {
    ready(bytes).await
}

#[tachyon_rpc(msg_type = 5)]
async fn scan(scan: Scan) -> Result<Scan, ScanError> {
    ready(scan.points.is_empty()).await.then_some(()).ok_or(ScanError::NoSensor { sensor: 1 })?;
    Ok(scan)
}

/// Fields, with the state and the context among them.
#[tachyon_rpc(msg_type = 6)]
async fn fields(
    name: String,
    #[state] calls: &AtomicU64,
    numbers: [u64; 2],
    #[context] cx: &Context<'_>,
    scans: Vec<Scan>,
    note: Option<String>,
    flag: Option<bool>,
) -> Result<Option<String>, std::num::ParseIntError> {
    calls.fetch_add(numbers[0], Ordering::Relaxed);
    ready(()).await;
    let parsed: u64 = name.parse()?;
    let tenant = cx.metadata().get("tenant").map(str::to_owned);
    Ok(tenant.or(note).filter(|_| parsed > 0 || flag.is_some() || scans.is_empty()))
}

#[tachyon_rpc(msg_type = 7)]
async fn borrowed_for_ever() -> &'static str {
    ready("static").await
}

/// A trait object as the state.
pub(crate) trait Prices: Send + Sync {
    fn price(&self) -> f64;
}

impl Prices for f64 {
    fn price(&self) -> f64 {
        *self
    }
}

#[tachyon_rpc(msg_type = 8)]
async fn price(#[state] prices: &dyn Prices) -> f64 {
    ready(prices.price()).await
}

#[tachyon_rpc(msg_type = 9)]
fn plain(#[state] calls: &AtomicU64) -> u64 {
    calls.load(Ordering::Relaxed)
}

/// A tensor, alone and among others.
#[tachyon_rpc(msg_type = 10)]
async fn scaled(image: Tensor<f32, 2>, by: f32, mask: Option<Tensor<u8, 2>>) -> Tensor<f32, 2> {
    ready((by, mask.is_some())).await;
    image
}

#[tachyon_rpc(msg_type = 11)]
async fn same(image: Tensor<f32, 3>) -> Tensor<f32, 3> {
    ready(image).await
}

/// A service with both kinds of methods.
#[tachyon_rpc]
pub(crate) trait Oracle {
    /// At once.
    #[rpc(msg_type = 20)]
    fn now(&self, question: &str) -> u64;

    /// Later.
    #[rpc(msg_type = 21)]
    async fn later(&self, question: String, #[context] cx: &Context<'_>) -> Result<u64, ScanError>;

    /// Has a body.
    #[rpc(msg_type = 22)]
    async fn default(&self, question: String) -> Option<u64> {
        Some(self.later_twice(question).await)
    }

    /// Has a keyword as its name, and no reply.
    #[rpc(msg_type = 23)]
    async fn r#type(&self);

    /// Plain, for the body above.
    #[rpc(msg_type = 24)]
    async fn later_twice(&self, question: String) -> u64;
}

struct Fixed(u64);

impl Oracle for Fixed {
    fn now(&self, _question: &str) -> u64 {
        self.0
    }

    async fn later(&self, _question: String, cx: &Context<'_>) -> Result<u64, ScanError> {
        ready(cx.correlation_id).await;
        Ok(self.0)
    }

    async fn r#type(&self) {
        ready(()).await;
    }

    async fn later_twice(&self, question: String) -> u64 {
        ready(question.len() as u64).await * 2
    }
}

fn main() {
    let stateless = Dispatcher::new(endpoints![nothing, number, text, bytes, scan, borrowed_for_ever, scaled, same]);
    assert_eq!(stateless.len(), 8);
    let calls = Arc::new(AtomicU64::new(0));
    let mut shared = Dispatcher::with_shared(Arc::clone(&calls), endpoints![fields, nothing, plain]);
    assert_eq!((shared.len(), shared.state_mut().is_none()), (3, true));
    assert!(shared.into_state().is_none(), "`calls` shares it");
    let own = Dispatcher::with_state(AtomicU64::new(5), endpoints![fields, plain]);
    assert_eq!(own.state().load(Ordering::Relaxed), 5);
    assert_eq!(own.into_state().map(AtomicU64::into_inner), Some(5));
    let prices: Arc<dyn Prices> = Arc::new(3.0);
    assert_eq!(Dispatcher::with_shared(prices, &[price::ENTRY]).len(), 1);
    assert!(fields::ENTRY.is_async() && !plain::ENTRY.is_async());
    assert_eq!(fields::SIGNATURE.msg_type(), 6);

    let served = OracleService::dispatcher(Fixed(1));
    assert_eq!(served.len(), 5);
    assert_eq!(OracleService::shared(Arc::new(Fixed(1))).len(), 5);
    let kinds: Vec<_> =
        OracleService::endpoints::<Fixed>().iter().map(|entry| (entry.name(), entry.is_async())).collect();
    assert_eq!(kinds, [("now", false), ("later", true), ("default", true), ("type", true), ("later_twice", true)]);
    let _ = |caller: &mut tachyon::Caller| -> Result<Option<String>, tachyon::CallError> {
        let text = OracleClient::new(&mut *caller).default("why")?;
        fields::call(caller, "1", [1, 2], &[][..], text.map(|_| "note"), None)
    };
}
