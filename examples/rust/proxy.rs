//! A proxy: listens at one path, and passes calls, streams, errors and descriptions on to the callee at another one.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin proxy -- FRONT BACK
//! ```
//!
//! The proxy counts the requests, and prints the count when a signal stops it. Its callers compare contracts, send
//! deadlines and metadata, and cancel calls as without it.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::describe::Description;
use tachyon::dispatch::{Fallback, FallbackRequest};
use tachyon::{AsyncCaller, Dispatcher, HandlerError, Items, Options, RpcServer, StreamSender};

/// Passes requests on, and counts them.
struct Proxy {
    back: AsyncCaller,
    passed_on: Arc<AtomicU64>,
}

impl Fallback for Proxy {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        self.passed_on.fetch_add(1, Ordering::Relaxed);
        let back = self.back.on_behalf_of(&request.context());
        back.call(request.msg_type(), request.payload()).await.map_err(HandlerError::passed_on)
    }

    async fn open(
        &self,
        request: FallbackRequest,
        items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        self.passed_on.fetch_add(1, Ordering::Relaxed);
        let back = self.back.on_behalf_of(&request.context());
        let stream = back.open(request.msg_type(), request.payload()).await.map_err(HandlerError::passed_on)?;
        stream.pass_on(items, sender).await
    }

    async fn describe(&self, endpoint: Option<u16>) -> Result<Description, HandlerError> {
        self.back.describe(endpoint).await.map_err(HandlerError::passed_on)
    }

    async fn version(&self) -> Result<u64, HandlerError> {
        self.back.limits().await.map(|limits| limits.version).map_err(HandlerError::passed_on)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [front, back] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "proxy FRONT BACK")?;
    let mut server = RpcServer::listen(front)?;
    signals::stop_on_signals(server.stopper())?;
    // A caller waits for so long until it hears that the callee is away.
    let options = Options::new().reconnect(true).timeout(Duration::from_secs(1));
    let back = AsyncCaller::connect_with(back, &options).await?;
    let passed_on = Arc::new(AtomicU64::new(0));
    let mut dispatcher = Dispatcher::default();
    dispatcher.fallback(Proxy { back, passed_on: Arc::clone(&passed_on) });
    dispatcher.serve_async(&mut server).await?;
    println!("passed {} requests on", passed_on.load(Ordering::Relaxed));
    Ok(())
}
