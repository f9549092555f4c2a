//! A server, a caller or an observer of a server, for the tests of layers and statistics.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tachyon::stats::{Observer, servers};
use tachyon::{Callee, Caller, Dispatcher, RpcServer, ServeError, ServerOptions, endpoints, tachyon_rpc};
use tachyon_tests::process::{self, arguments};
use tachyon_tests::server::STOP;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: stats_peer ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("server", [workers, statistics]) => server(path, workers.parse()?, *statistics == "counted"),
        ("list", []) => list(),
        ("observe", [millis]) => observe(path, Duration::from_millis(millis.parse()?)),
        ("caller", [msg_type, count]) => caller(path, msg_type.parse()?, count.parse()?),
        ("hand_written_callee", [how]) => hand_written_callee(path, how),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

fn report(line: &str) -> Outcome {
    Ok(process::report(line)?)
}

/// Sends the request back.
#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

#[tachyon_rpc(msg_type = 2)]
fn fail(_payload: &[u8]) -> Result<Vec<u8>, String> {
    Err("on purpose".into())
}

/// Sleeps for the requested microseconds.
#[tachyon_rpc(msg_type = 3)]
fn sleep(payload: &[u8]) -> Result<(), std::array::TryFromSliceError> {
    std::thread::sleep(Duration::from_micros(u64::from_le_bytes(payload.try_into()?)));
    Ok(())
}

fn server(path: &Path, workers: usize, stats: bool) -> Outcome {
    let mut server = RpcServer::listen_with(path, ServerOptions::new().stats(stats).max_callers(8))?;
    server.on_event(|event| {
        if matches!(event, tachyon::server::ServerEvent::Error(_)) {
            // No other event, since the tests count the lines.
            drop(report(&format!("trouble: {event}")));
        }
    });
    let stopper = server.stopper();
    // Not in ascending order, which the counters must not depend on.
    let mut dispatcher = Dispatcher::new(endpoints![sleep, echo, fail]);
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    if workers == 1 {
        dispatcher.serve_forever(&mut server)?;
    } else {
        dispatcher.serve_workers(&mut server, workers)?;
    }
    report("stopped")
}

fn list() -> Outcome {
    match servers() {
        Ok(found) => found.iter().try_for_each(|server| report(&format!("{} {}", server.pid, server.path.display()))),
        Err(error) => report(&format!("refused: {error}")),
    }
}

/// Prints a snapshot, one line for each part: `key value ...`. After `wait`, also the rate of calls during `wait`.
fn observe(path: &Path, wait: Duration) -> Outcome {
    let observer = match Observer::open(path) {
        Ok(observer) => observer,
        Err(error) => return report(&format!("refused: {error}")),
    };
    let mut snapshot = observer.snapshot()?;
    if !wait.is_zero() {
        std::thread::sleep(wait);
        let later = observer.snapshot()?;
        let interval = later.since(&snapshot);
        report(&format!("rate {:.0}", interval.per_second(interval.calls())))?;
        snapshot = later;
    }
    report(&format!(
        "server {} {} {} {} {} {}",
        snapshot.pid,
        observer.is_live(),
        snapshot.workers,
        snapshot.callers_now,
        snapshot.callers_ever,
        snapshot.rejected
    ))?;
    for line in &snapshot.endpoints {
        let micros = |time: Option<Duration>| time.map_or(0, |time| time.as_micros());
        report(&format!(
            "endpoint {} {} {} {} {} {}",
            line.name,
            line.calls,
            line.errors,
            line.request_bytes,
            micros(line.p50()),
            micros(line.p99())
        ))?;
    }
    for caller in &snapshot.callers {
        report(&format!(
            "caller {} {} {} {}/{} {}/{}",
            caller.id,
            caller.pid.unwrap_or(0),
            caller.requests,
            caller.forward.used,
            caller.forward.slots,
            caller.reverse.used,
            caller.reverse.slots
        ))?;
    }
    Ok(())
}

/// Makes calls, prints that they are done, and stays connected until it is killed.
fn caller(path: &Path, msg_type: u16, count: u64) -> Outcome {
    let mut caller = Caller::connect(path)?;
    for _ in 0..count {
        caller.call(msg_type, b"12345678")?;
    }
    report("called")?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Answers each request with the number of requests before it, until the caller closes.
fn hand_written_callee(path: &Path, how: &str) -> Outcome {
    let mut callee = Callee::listen(path, 4096, 4096)?;
    let mut seen = 0u64;
    loop {
        let ids = |request: tachyon::rpc::RpcRxGuard<'_>| (request.correlation_id(), request.msg_type());
        let request = match how {
            "waiting" => callee.serve().map(ids).map(Some),
            "timed" => match callee.serve_timeout(Duration::from_millis(5)) {
                Err(ServeError::TimedOut) => Ok(None),
                outcome => outcome.map(ids).map(Some),
            },
            _ => callee.try_serve().map(|request| request.map(ids)),
        };
        match request {
            Ok(None) => {}
            Ok(Some((call, msg_type))) => {
                callee.reply(call, msg_type, &seen.to_le_bytes())?;
                seen += 1;
            }
            Err(ServeError::Closed) => return report(&seen.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
}
