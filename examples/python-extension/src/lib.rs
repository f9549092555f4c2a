//! Endpoints in Rust, which a dispatcher in Python serves beside endpoints in Python.
//!
//! ```text
//! maturin develop --release --manifest-path examples/python-extension/Cargo.toml
//! python examples/python/extension_service.py SOCKET
//! ```

use core::fmt;
use std::collections::HashMap;

use pyo3::prelude::*;
use tachyon::dispatch::{ReplySlot, SlotError};
use tachyon::{Context, endpoints, tachyon_rpc};

/// The price of an instrument.
#[tachyon::payload]
#[derive(Debug, Clone, Copy)]
pub struct Quote {
    /// The number of the instrument.
    pub instrument: u64,
    /// The highest price of a buyer.
    pub bid: f64,
    /// The lowest price of a seller.
    pub ask: f64,
}

/// The state of the endpoints.
#[derive(Default)]
struct Quotes(HashMap<u64, Quote>);

/// The error for an unknown instrument.
struct Unknown(u64);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instrument {} has no quote", self.0)
    }
}

/// Keeps quotes, and returns their number.
#[tachyon_rpc(msg_type = 1)]
fn keep(#[state] quotes: &mut Quotes, new: &[Quote]) -> u64 {
    quotes.0.extend(new.iter().map(|quote| (quote.instrument, *quote)));
    quotes.0.len() as u64
}

/// Returns the latest quote of an instrument.
#[tachyon_rpc(msg_type = 2)]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "requests are borrowed in place")]
fn latest(#[state] quotes: &Quotes, instrument: &u64) -> Result<Quote, Unknown> {
    quotes.0.get(instrument).copied().ok_or(Unknown(*instrument))
}

/// Returns the mean of numbers.
#[tachyon_rpc(msg_type = 3)]
#[allow(clippy::cast_precision_loss, reason = "a ring holds fewer than 2^53 numbers")]
fn mean(numbers: &[f64]) -> f64 {
    assert!(!numbers.is_empty(), "the mean needs at least one number");
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Returns the running sums, written in place.
#[tachyon_rpc(msg_type = 4)]
fn running_sum(numbers: &[f64], reply: ReplySlot<'_, [f64]>) -> Result<(), SlotError> {
    let mut sums = reply.reserve(numbers.len())?;
    let mut sum = 0.0;
    for (place, number) in sums.iter_mut().zip(numbers) {
        sum += number;
        *place = sum;
    }
    sums.commit();
    Ok(())
}

/// Returns the process that calls, and the tenant that it names in the metadata of the call.
#[tachyon_rpc(msg_type = 5)]
fn whoami(#[context] cx: &Context<'_>) -> String {
    let tenant = cx.metadata().get("tenant").unwrap_or("no tenant");
    format!("process {} of {tenant}", cx.caller.pid.unwrap_or_default())
}

/// The module `pricing`.
#[pymodule]
fn pricing(module: &Bound<'_, PyModule>) -> PyResult<()> {
    tachyon::python::export_with_state(module, Quotes::default(), endpoints![keep, latest, mean, running_sum, whoami])
}
