//! A server on a tokio runtime, and a caller of it that dies.
//!
//! `tokio_service serve SOCKET RUNTIME IN_FLIGHT EACH STOP_MS` serves until endpoint 9 is called, then prints its events.
//! `tokio_service call SOCKET COUNT` makes calls of an hour each, says so and waits.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tachyon::server::ServerEvent;
use tachyon::{Caller, Dispatcher, Options, RpcServer, ServerOptions};
use tokio::runtime::Builder;

/// What endpoint 5 tells.
#[derive(Default)]
struct Counts {
    started: AtomicU64,
    finished: AtomicU64,
    dropped: AtomicU64,
    /// How often a task that has nothing to do with the server ran.
    ticks: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
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

#[allow(clippy::print_stdout, reason = "printing is how a peer reports")]
fn report(line: &str) -> std::io::Result<()> {
    println!("{line}");
    std::io::stdout().flush()
}

/// Counts a handler that ends without being done.
struct AtWork(Arc<Counts>, bool);

impl Drop for AtWork {
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
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    server.on_event(move |event| {
        let word = match event {
            ServerEvent::Joined(_) => "joined".to_owned(),
            ServerEvent::Left(_, how) => format!("{how:?}"),
            other => other.to_string(),
        };
        log.lock().unwrap_or_else(PoisonError::into_inner).push(word);
    });
    let counts = Arc::new(Counts::default());
    let ticker = tokio::spawn(tick(Arc::clone(&counts)));
    let dispatcher = dispatcher(&counts, &server)?;
    dispatcher.serve_async(&mut server).await?;
    ticker.abort();
    let events = events.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    report(&events)?;
    Ok(())
}

async fn tick(counts: Arc<Counts>) {
    // Only while somebody wants it: an idle server is to be idle.
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
            let mut at_work = AtWork(counts, false);
            tokio::time::sleep(millis(&request)?).await;
            at_work.1 = true;
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
    dispatcher.register(9, "stop", move |_: &[u8]| stopper.stop())?;
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
