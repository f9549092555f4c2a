//! A server on a tokio runtime: handlers that await, side by side, beside plain functions.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin tokio_server -- /tmp/tachyon-tokio.sock
//! ```
//!
//! Then, in another terminal:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin tokio_caller -- /tmp/tachyon-tokio.sock
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::{Dispatcher, RpcServer, ServerOptions, endpoints, tachyon_rpc};

/// The square of a number. It is done at once, so it runs where requests are taken.
#[tachyon_rpc(msg_type = 1)]
fn square(number: &[u8]) -> Result<[u8; 8], std::array::TryFromSliceError> {
    let number = u64::from_le_bytes(number.try_into()?);
    Ok((number * number).to_le_bytes())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args_os().nth(1).ok_or("usage: tokio_server SOCKET")?;
    // At most 500 handlers at work, 100 of them for one caller; what comes beyond that is held until there is a place.
    let mut server = RpcServer::listen_with(&socket, ServerOptions::new().in_flight(500, 100))?;

    let mut dispatcher = Dispatcher::new(endpoints![square]);
    let (begun, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = (Arc::clone(&begun), Arc::clone(&done));
    dispatcher.register_async(2, "ponder", move |_question| {
        // Each call has a future of its own, so it gets handles of its own to what calls share.
        let (begun, done) = counters.clone();
        async move {
            begun.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Not reached by a call whose caller gave up: its future is dropped.
            done.fetch_add(1, Ordering::Relaxed);
            "42"
        }
    })?;
    let stopper = server.stopper();
    dispatcher.register(3, "stop", move |_: &[u8]| stopper.stop())?;

    println!("serving at {}", server.path().map(|path| path.display().to_string()).unwrap_or_default());
    // In a task of its own: `main` runs beside the runtime's threads, and would have to wake one for each handler.
    tokio::spawn(async move { dispatcher.serve_async(&mut server).await }).await??;
    let (begun, done) = (begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
    println!("pondered {begun} times, {} of them for nobody", begun - done);
    Ok(())
}
