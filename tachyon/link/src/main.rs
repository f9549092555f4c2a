//! The program `tachyon-link`: either end of a link.

use core::future::Future;
use core::task::Poll;
use core::time::Duration;
use std::env;
use std::future::poll_fn;
use std::io::{self, Write, stderr, stdout};
use std::pin::pin;
use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tachyon_link::certificates::write_certificates;
use tachyon_link::config::{Command, ConfigError, ConnectConfig, ServeConfig, parse};
use tachyon_link::grpc::{self, GrpcCarrier};
use tachyon_link::{FarEnd, NearEnd};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

type Failure = Box<dyn std::error::Error>;

/// Lanes of all near ends that wait for the far end.
const WAITING_LANES: usize = 64;

/// Time for the last messages of a stopped far end.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let command = match parse(env::args_os()) {
        Ok(command) => command,
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(error) => return report(&error, 2),
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&*error, 1),
    }
}

fn report(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // There is no other place to say that standard error is closed.
    drop(writeln!(stderr(), "tachyon-link: {error}"));
    ExitCode::from(code)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(config) => {
            log(config.log);
            Runtime::new()?.block_on(serve(config))
        }
        Command::Connect(config) => {
            log(config.log);
            Runtime::new()?.block_on(connect(config))
        }
        Command::Certificates { folder, names } => Ok(write_certificates(&folder, &names)?),
        _ => unreachable!("the program knows its commands"),
    }
}

/// Logs to standard error. Below warnings the libraries that carry the messages are left out.
fn log(level: LevelFilter) {
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("tachyon", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    tracing_subscriber::registry().with(targets).with(lines).init();
}

async fn serve(config: ServeConfig) -> Result<(), Failure> {
    let ServeConfig { socket, listen, tls, allowed, limits, options, .. } = config;
    let stopped = stopped()?;
    let listener = TcpListener::bind(&*listen).await.map_err(|error| format!("{}: {error}", listen[0]))?;
    let address = listener.local_addr()?;
    let (sender, incoming) = mpsc::channel(WAITING_LANES);
    let carrying = tokio::spawn(grpc::serve(listener, tls, limits, sender, stop(stopped.clone())));
    ready(&format!("serving {} at {address}", socket.display()))?;
    FarEnd::new(socket, options).serve(incoming, allowed, stop(stopped)).await;
    // The channels end when the near ends have the last messages.
    drop(timeout(LAST_MESSAGES, carrying).await);
    Ok(())
}

async fn connect(config: ConnectConfig) -> Result<(), Failure> {
    let ConnectConfig { target, socket, options, .. } = config;
    let line = format!("connecting {} to {}", socket.display(), target.address);
    let stopped = stopped()?;
    let near = NearEnd::new(GrpcCarrier::new(target), socket, options);
    let mut serving = pin!(near.serve(stop(stopped)));
    // The first poll listens at the socket.
    let first = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx))).await;
    if let Poll::Ready(outcome) = first {
        return Ok(outcome?);
    }
    ready(&line)?;
    Ok(serving.await?)
}

/// Says to the program's parent that it is ready.
fn ready(line: &str) -> io::Result<()> {
    writeln!(stdout(), "{line}")
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the signals are no longer watched, which the end of the runtime does.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Becomes true with the first SIGTERM or SIGINT. The second one ends the program at once.
///
/// A thread waits for the signals: with the signals of tokio every runtime that is built with this crate would keep two
/// descriptors.
fn stopped() -> io::Result<watch::Receiver<bool>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (stop, stopped) = watch::channel(false);
    std::thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        tracing::info!("stopping");
        stop.send_replace(true);
        signals.next();
        std::process::exit(1);
    });
    Ok(stopped)
}
