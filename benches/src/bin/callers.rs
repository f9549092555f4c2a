//! The cost of many callers of one server: time to connect, throughput, tail latency, memory, and the effect of a
//! flooding caller on another one.
//!
//! Run: `cargo run --release -p tachyon-benches --bin callers` (about half a minute; `-- --json` for a script).
//!
//! Three processes: the server with one thread, a driver that holds all callers and keeps one call of each in flight,
//! and for the last measure a flooding caller. On a machine with fewer than three cores the flood also competes for the
//! processor, so the reference is a caller beside a process that takes as much processor time without calling.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Resource, getrlimit, setrlimit};
use tachyon::{Caller, Dispatcher, Options, RpcServer, ServerOptions, endpoints, tachyon_rpc};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const COUNTS: [usize; 4] = [1, 8, 64, 256];
const SPAN: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 6;

#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", path] => server(path.as_ref()),
        ["flood", path] => flood(path.as_ref()),
        ["burn"] => burn(),
        [] => measure(false),
        ["--json"] => measure(true),
        _ => Err("usage: callers [--json]".into()),
    }
}

/// Raises the limit of open descriptors to the system's maximum.
fn raise_limit() -> Outcome {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn server(path: &Path) -> Outcome {
    raise_limit()?;
    let mut server = RpcServer::listen_with(path, ServerOptions::new().max_callers(1000).ring_sizes(1 << 14, 1 << 14))?;
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::new(endpoints![echo]);
    dispatcher.register(9, "stop", move |_: &[u8]| stopper.stop())?;
    Ok(dispatcher.serve_forever(&mut server)?)
}

/// Keeps the ring to the server full until this process is killed.
fn flood(path: &Path) -> Outcome {
    let mut caller = Caller::connect(path)?;
    let mut calls = std::collections::VecDeque::new();
    loop {
        calls.push_back(caller.start(1, &[7; 32])?);
        if calls.len() == 200
            && let Some(call) = calls.pop_front()
        {
            drop(caller.finish(call)?);
        }
    }
}

/// Takes as much processor time as a flood, without calls.
fn burn() -> Outcome {
    loop {
        core::hint::black_box(0);
    }
}

/// A process of this program, killed when dropped.
struct Helper(Child);

impl Helper {
    fn start(arguments: &[&str]) -> Outcome<Self> {
        Ok(Self(Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Both calls fail only for a process that has ended.
        drop((self.0.kill(), self.0.wait()));
    }
}

struct Row {
    callers: usize,
    accept: Duration,
    calls_per_second: f64,
    p50: u64,
    p99: u64,
    bytes_per_caller: u64,
}

#[allow(clippy::print_stdout, reason = "this program prints its results")]
fn measure(json: bool) -> Outcome {
    raise_limit()?;
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for callers in COUNTS {
        rows.push(row(folder.path(), callers)?);
    }
    let ratio = fairness(folder.path())?;
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "callers": row.callers, "accept_us": row.accept.as_micros(),
                    "calls_per_second": row.calls_per_second.round(), "p50_ns": row.p50, "p99_ns": row.p99,
                    "bytes_per_caller": row.bytes_per_caller,
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "callers": rows, "flooded_p99_over_alone": ratio }));
        return Ok(());
    }
    println!("callers   connected   calls/s   p50 us   p99 us   KiB each");
    for row in rows {
        println!(
            "{:>7}  {:>7.1} ms  {:>8.0}  {:>7.2}  {:>7.2}   {:>8}",
            row.callers,
            row.accept.as_secs_f64() * 1e3,
            row.calls_per_second,
            micros(row.p50),
            micros(row.p99),
            row.bytes_per_caller / 1024
        );
    }
    let [low, median, high] = ratio;
    println!("p99 of a caller beside a flooding caller, over its p99 beside an equally busy process:");
    println!("{median:.2} (median of {ROUNDS} interleaved rounds; from {low:.2} to {high:.2})");
    Ok(())
}

fn micros(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

/// Connects once the server listens.
fn connect(path: &Path) -> Outcome<Caller> {
    Ok(Caller::connect_with(path, &Options::new())?)
}

fn stop(path: &Path, mut server: Helper) -> Outcome {
    drop(connect(path)?.call(9, b"")?);
    server.0.wait()?;
    Ok(())
}

fn row(folder: &Path, count: usize) -> Outcome<Row> {
    let path = folder.join(format!("{count}.sock"));
    let server =
        Helper::start(&["server", path.to_str().ok_or("the name of the temporary folder is not valid UTF-8")?])?;
    drop(connect(&path)?);
    let before = resident(&server)?;
    let started = Instant::now();
    let mut callers = (0..count).map(|_| connect(&path)).collect::<Outcome<Vec<_>>>()?;
    let accept = started.elapsed();
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut calls = 0u64;
    let mut span = Duration::ZERO;
    let mut sent = vec![(0, Instant::now()); count];
    // The first tenth is not counted: it fills caches and wakes the threads.
    let begin = Instant::now();
    while begin.elapsed() < SPAN {
        let counted = begin.elapsed() > SPAN / 10;
        let lap = Instant::now();
        for (caller, sent) in callers.iter_mut().zip(&mut sent) {
            let now = Instant::now();
            *sent = (caller.start(1, &[7; 32])?, now);
        }
        for (caller, (call, since)) in callers.iter_mut().zip(&sent) {
            drop(caller.finish(*call)?);
            if counted {
                histogram.record(u64::try_from(since.elapsed().as_nanos())?)?;
            }
        }
        if counted {
            span += lap.elapsed();
            calls += u64::try_from(count)?;
        }
    }
    let bytes_per_caller = resident(&server)?.saturating_sub(before) / u64::try_from(count)?;
    drop(callers);
    stop(&path, server)?;
    let calls_per_second = f64::from(u32::try_from(calls)?) / span.as_secs_f64();
    let (p50, p99) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    Ok(Row { callers: count, accept, calls_per_second, p50, p99, bytes_per_caller })
}

/// The resident memory of a process in bytes, shared segments included.
fn resident(process: &Helper) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The p99 of a caller that makes one call after the other.
fn polite_p99(path: &Path) -> Outcome<u64> {
    let mut caller = connect(path)?;
    let mut histogram = Histogram::<u64>::new(3)?;
    let begin = Instant::now();
    while begin.elapsed() < SPAN {
        let since = Instant::now();
        drop(caller.call(1, &[1; 32])?);
        if begin.elapsed() > SPAN / 10 {
            histogram.record(u64::try_from(since.elapsed().as_nanos())?)?;
        }
    }
    Ok(histogram.value_at_quantile(0.99))
}

/// Lowest, median and highest ratio over interleaved rounds.
fn fairness(folder: &Path) -> Outcome<[f64; 3]> {
    let path = folder.join("fair.sock");
    let text = path.to_str().ok_or("the name of the temporary folder is not valid UTF-8")?;
    let server = Helper::start(&["server", text])?;
    drop(connect(&path)?);
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let alone = {
            let _stranger = Helper::start(&["burn"])?;
            polite_p99(&path)?
        };
        let flooded = {
            let _flood = Helper::start(&["flood", text])?;
            polite_p99(&path)?
        };
        ratios.push(Duration::from_nanos(flooded).as_secs_f64() / Duration::from_nanos(alone).as_secs_f64());
    }
    stop(&path, server)?;
    ratios.sort_by(f64::total_cmp);
    Ok([ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]])
}
