//! Tests that need both ends of RPC.

#[cfg(feature = "tokio")]
mod cancellation;
mod metadata;
mod overflow;
