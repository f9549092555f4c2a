//! A server on a tokio runtime, and a caller that the test kills.
//!
//! `tokio_service serve SOCKET RUNTIME IN_FLIGHT EACH STOP_MS` serves until endpoint 9 is called, then prints the
//! events. `tokio_service call SOCKET COUNT` starts calls of an hour each, prints `called`, and hangs.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::{Caller, Dispatcher, Options, RpcServer, ServerOptions};
use tachyon_tests::process::{arguments, report};
use tachyon_tests::server::{EventLog, STOP};
use tokio::runtime::Builder;

/// The reply of endpoint 5.
#[derive(Default)]
struct Counts {
    started: AtomicU64,
    finished: AtomicU64,
    dropped: AtomicU64,
    /// Runs of a task that is unrelated to the server.
    ticks: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    match &arguments[..] {
        ["serve", socket, runtime, in_flight, each, stop] => {
            let options = ServerOptions::new()
                .in_flight(in_flight.parse()?, each.parse()?)
                .stop_timeout(Duration::from_millis(stop.parse()?))
                .connection(Options::new().handshake_timeout(Duration::from_millis(300)));
            let runtime = match *runtime {
                "current" => Builder::new_current_thread().enable_all().build()?,
                _ => Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
            };
            runtime.block_on(serve(Path::new(socket), options))
        }
        ["call", socket, count] => call(Path::new(socket), count.parse()?),
        _ => Err("usage: tokio_service serve|call SOCKET ...".into()),
    }
}

/// Counts the end of a handler: as finished if the flag is set, and otherwise as dropped.
struct Running(Arc<Counts>, bool);

impl Drop for Running {
    fn drop(&mut self) {
        let Self(counts, done) = self;
        let count = if *done { &counts.finished } else { &counts.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn millis(request: &[u8]) -> Result<Duration, std::array::TryFromSliceError> {
    Ok(Duration::from_millis(u64::from_le_bytes(request.try_into()?)))
}

async fn serve(socket: &Path, options: ServerOptions) -> Result<(), Box<dyn Error>> {
    let mut server = RpcServer::listen_with(socket, options)?;
    let events = EventLog::of(&mut server);
    let counts = Arc::new(Counts::default());
    let ticker = tokio::spawn(tick(Arc::clone(&counts)));
    let dispatcher = dispatcher(&counts, &server)?;
    dispatcher.serve_async(&mut server).await?;
    ticker.abort();
    Ok(report(&events.text())?)
}

async fn tick(counts: Arc<Counts>) {
    // Ends after 1000 runs, so that an idle server uses no processor time.
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if counts.ticks.fetch_add(1, Ordering::Relaxed) >= 1000 {
            return;
        }
    }
}

fn dispatcher(counts: &Arc<Counts>, server: &RpcServer) -> Result<Dispatcher, tachyon::RegisterError> {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    let own = Arc::clone(counts);
    dispatcher.register_async(2, "sleep", move |request| {
        let counts = Arc::clone(&own);
        async move {
            counts.started.fetch_add(1, Ordering::Relaxed);
            let mut running = Running(counts, false);
            tokio::time::sleep(millis(&request)?).await;
            running.1 = true;
            Ok::<_, std::array::TryFromSliceError>(request)
        }
    })?;
    dispatcher.register_async(3, "panic", async |_: Vec<u8>| -> () {
        tokio::task::yield_now().await;
        std::panic::set_hook(Box::new(|_| {}));
        panic!("on purpose")
    })?;
    dispatcher.register_async(4, "fail", |request: Vec<u8>| async move {
        Err::<(), _>(format!("refused {} bytes", request.len()))
    })?;
    let own = Arc::clone(counts);
    dispatcher.register(5, "counts", move |_: &[u8]| {
        let Counts { started, finished, dropped, ticks } = &*own;
        [started, finished, dropped, ticks].map(|count| count.load(Ordering::Relaxed).to_string()).join(" ")
    })?;
    dispatcher.register_async(7, "huge", async |_: Vec<u8>| vec![0_u8; 1 << 20])?;
    dispatcher.register_async(8, "long", async |request: Vec<u8>| {
        tokio::task::yield_now().await;
        request.repeat(100)
    })?;
    let stopper = server.stopper();
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    Ok(dispatcher)
}

fn call(socket: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let mut caller = Caller::connect(socket)?;
    for _ in 0..count {
        caller.start(2, &3_600_000u64.to_le_bytes())?;
    }
    report("called")?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
