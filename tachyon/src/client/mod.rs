//! Callers for programs with many threads or tasks.

pub mod pool;
#[cfg(feature = "tokio")]
pub mod tokio;
