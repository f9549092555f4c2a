//! Callers for programs with many threads ([`pool`]) or tasks of a tokio runtime (`tokio`).

pub mod pool;
#[cfg(feature = "tokio")]
pub mod tokio;
