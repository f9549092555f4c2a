//! A server on a tokio runtime: async functions, whose calls run side by side, beside plain functions.
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
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::{Dispatcher, RpcServer, ServerOptions, endpoints, tachyon_rpc};

/// Returns the square of a number. The function is short, so it runs in the task that takes requests.
#[tachyon_rpc(msg_type = 1)]
fn square(number: u64) -> u64 {
    number * number
}

/// Calls of `ponder`.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    done: AtomicU64,
}

/// Takes a long time. Each call is a task of its own, and the tasks share the state.
#[tachyon_rpc(msg_type = 2)]
async fn ponder(#[state] counts: &Counts, _question: Vec<u8>) {
    counts.begun.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // A call whose caller gave up never gets here: its future is dropped.
    counts.done.fetch_add(1, Ordering::Relaxed);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args_os().nth(1).ok_or("usage: tokio_server SOCKET")?;
    // At most 500 handlers run at a time, 100 of them for one caller. Further requests wait for a place.
    let mut server = RpcServer::listen_with(&socket, ServerOptions::new().in_flight(500, 100))?;

    let counts = Arc::new(Counts::default());
    let mut dispatcher = Dispatcher::with_shared(Arc::clone(&counts), endpoints![square, ponder]);
    let stopper = server.stopper();
    dispatcher.register(3, "stop", move |_: &[u8]| stopper.stop())?;

    println!("serving at {}", server.path().map(|path| path.display().to_string()).unwrap_or_default());
    // In a separate task: `main` is not one of the runtime's threads, and would have to wake one for each handler.
    tokio::spawn(async move { dispatcher.serve_async(&mut server).await }).await??;
    let (begun, done) = (counts.begun.load(Ordering::Relaxed), counts.done.load(Ordering::Relaxed));
    println!("pondered {begun} times, {} of them cancelled", begun - done);
    Ok(())
}
