//! Endpoints and a service for the tests of callers: the program `calls` serves them.

#![allow(clippy::missing_errors_doc, clippy::must_use_candidate, reason = "endpoints of tests")]

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use tachyon::dispatch::Entry;
use tachyon::{endpoints, tachyon_rpc};

/// The state: a log of the numbers that were recorded.
#[derive(Debug)]
pub struct Log(pub File);

/// Adds.
#[tachyon_rpc(msg_type = 1)]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Records a number. The server that records the first one dies before it answers.
#[tachyon_rpc(msg_type = 2)]
pub fn record_and_die_once(#[state] log: &Log, number: u64) -> Result<u64, std::io::Error> {
    (&log.0).write_all(&number.to_le_bytes())?;
    if log.0.metadata()?.len() == 8 {
        std::process::abort();
    }
    Ok(number)
}

/// A text of many bytes comes back.
#[tachyon_rpc(msg_type = 3)]
pub fn repeat(text: &str, times: u32) -> String {
    text.repeat(times as usize)
}

/// A service beside the functions.
#[tachyon_rpc]
pub trait Tally {
    /// Doubles.
    #[rpc(msg_type = 11)]
    fn double(&self, number: u64) -> u64;

    /// Sleeps, and returns the number.
    #[rpc(msg_type = 12)]
    fn slowly(&self, milliseconds: u64, number: u64) -> u64;

    /// Fails with a text.
    #[rpc(msg_type = 13)]
    fn fails(&self) -> Result<u64, String>;
}

impl Tally for Log {
    fn double(&self, number: u64) -> u64 {
        number * 2
    }

    fn slowly(&self, milliseconds: u64, number: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        number
    }

    fn fails(&self) -> Result<u64, String> {
        Err("on purpose".to_owned())
    }
}

/// The functions.
pub const FUNCTIONS: &[Entry<Log>] = endpoints![add, record_and_die_once, repeat];

/// All endpoints.
pub fn table() -> &'static [Entry<Log>] {
    endpoints![..TallyService::endpoints::<Log>(), ..FUNCTIONS]
}
