//! The cost of a call through a link, beside two uses of its engine alone, over an open channel of HTTP/2 with TLS:
//!
//! - engine: a gRPC call with one message each way. It opens a lane, and sends its message once the other end has taken
//!   the lane: two round trips.
//! - lane: one message each way over a lane that is open, as the link's calls have one: one round trip.
//!
//! With the program `peer` also beside a unary call of tonic, the usual library for gRPC, over one channel with the
//! same certificates: one round trip.
//!
//! Run: `cargo bench -p tachyon-link` (about half a minute). With tonic:
//! ```sh
//! cargo build --release --manifest-path benches/peers/Cargo.toml --no-default-features --features tonic
//! TACHYON_PEER=$PWD/benches/peers/target/release/peer cargo bench -p tachyon-link
//! ```
//!
//! Five processes: this one is the caller, and the near end of the bare channel; the others are the callee, both ends
//! of the link, and the far end of the bare channel, which echoes. tonic has two more, a client and a server that
//! echoes. All are on one machine, over the loopback interface. Short rounds of all kinds take turns.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tachyon::{AsyncCaller, Caller, Dispatcher, RpcServer};
use tachyon_link::carrier::{Carrier, Channel, Lane, Receiver};
use tachyon_link::certificates::write_certificates;
use tachyon_link::grpc::{self, GrpcCarrier, GrpcTarget, Limits};
use tachyon_link::tls::{ClientTls, Identity, ServerTls};
use tachyon_link::{AllowAll, FarEnd, FarOptions, NearEnd, NearOptions};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const ECHO: u16 = 1;
const SIZES: [usize; 2] = [32, 1024];
const ROUNDS: usize = 15;
/// Calls of a round, one after the other.
const CALLS: usize = 300;
/// Calls in flight.
const FLIGHT: usize = 64;
/// Calls of a round with as many in flight.
const FLIGHT_CALLS: usize = 6400;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["callee", path] => callee(path.as_ref()),
        ["echo", address, certificates] => runtime()?.block_on(echo(address.parse()?, certificates.as_ref())),
        ["far", back, address, certificates] => {
            runtime()?.block_on(far(back.as_ref(), address.parse()?, certificates.as_ref()))
        }
        ["near", address, front, certificates] => {
            runtime()?.block_on(near(address.parse()?, front.as_ref(), certificates.as_ref()))
        }
        [] => measure(),
        _ => Err("usage: link".into()),
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn identity(certificates: &Path, name: &str) -> Identity {
    Identity { cert: certificates.join(format!("{name}.pem")), key: certificates.join(format!("{name}.key")) }
}

fn server_tls(certificates: &Path) -> Outcome<Arc<ServerTls>> {
    let ca = Some(certificates.join("authority.pem"));
    Ok(Arc::new(ServerTls::new(identity(certificates, "host-b"), ca)?))
}

fn carrier(address: SocketAddr, certificates: &Path) -> Outcome<GrpcCarrier> {
    let (ca, name) = (certificates.join("authority.pem"), Some("host-b".to_owned()));
    let tls = Some(Arc::new(ClientTls::new(ca, Some(identity(certificates, "host-a")), name)?));
    Ok(GrpcCarrier::new(GrpcTarget { address: address.to_string(), tls, limits: Limits::default() }))
}

fn callee(path: &Path) -> Outcome {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec)?;
    Ok(dispatcher.serve_forever(&mut RpcServer::listen(path)?)?)
}

/// Sends each message of each lane back.
async fn echo(address: SocketAddr, certificates: &Path) -> Outcome {
    let (sender, mut incoming) = mpsc::channel(16);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let tls = server_tls(certificates)?;
    tokio::spawn(grpc::serve(listener, Some(tls), Limits::default(), sender, std::future::pending::<()>()));
    while let Some(arrived) = incoming.recv().await {
        tokio::spawn(async move {
            let Lane { sender, mut receiver, .. } = arrived.lane;
            while let Some(Ok(message)) = receiver.next().await {
                if sender.send(message).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
}

async fn far(back: &Path, address: SocketAddr, certificates: &Path) -> Outcome {
    let (sender, incoming) = mpsc::channel(16);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let tls = server_tls(certificates)?;
    tokio::spawn(grpc::serve(listener, Some(tls), Limits::default(), sender, std::future::pending::<()>()));
    FarEnd::new(back, FarOptions::default()).serve(incoming, AllowAll, std::future::pending()).await;
    Ok(())
}

async fn near(address: SocketAddr, front: &Path, certificates: &Path) -> Outcome {
    let near = NearEnd::new(carrier(address, certificates)?, front, NearOptions::default());
    Ok(near.serve(std::future::pending()).await?)
}

/// A process of this program, or of `peer`.
struct Role(Child);

impl Role {
    fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.args(arguments).stdin(Stdio::null()).spawn()?))
    }

    fn of_peer(program: &Path, arguments: &[&str], pipe: fn() -> Stdio) -> Outcome<Self> {
        let started = Command::new(program).args(arguments).stdin(pipe()).stdout(pipe()).spawn();
        Ok(Self(started.map_err(|error| format!("TACHYON_PEER={}: {error}", program.display()))?))
    }

    /// Processor time so far.
    fn processor_time(&self) -> Outcome<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0.id()))?;
        let own: u64 = stat.split_whitespace().next().ok_or("no time")?.parse()?;
        let mut all = own;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let thread = thread?;
            if thread.file_name().to_string_lossy() != self.0.id().to_string() {
                let stat = std::fs::read_to_string(thread.path().join("schedstat"))?;
                all += stat.split_whitespace().next().ok_or("no time")?.parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(all))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// tonic's server and client. The client makes the calls of each line that it reads, and answers with a time.
struct Tonic {
    client: Role,
    times: BufReader<ChildStdout>,
    _server: Role,
}

impl Tonic {
    fn start(peer: &Path, certificates: &str) -> Outcome<Self> {
        let at = free_address()?.to_string();
        let server = Role::of_peer(peer, &["tonic-server", &at, certificates], Stdio::null)?;
        let mut client = Role::of_peer(peer, &["tonic-client", &at, certificates], Stdio::piped)?;
        let times = BufReader::new(client.0.stdout.take().ok_or("no output")?);
        Ok(Self { client, times, _server: server })
    }

    /// Nanoseconds.
    fn time(&mut self, order: &str) -> Outcome<f64> {
        let mut orders = self.client.0.stdin.as_ref().ok_or("no input")?;
        writeln!(orders, "{order}").map_err(|error| format!("tonic's client takes no orders: {error}"))?;
        let mut time = String::new();
        self.times.read_line(&mut time)?;
        Ok(time.trim().parse().map_err(|_| format!("tonic's client answered {order} by {time:?}"))?)
    }
}

fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The times of one contender, one of each round, in nanoseconds.
#[derive(Default)]
struct Times {
    /// The median of the calls of a round.
    one_by_one: Vec<f64>,
    /// All calls of a round.
    in_flight: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of the ratios of each round.
fn median_ratio(of: &[f64], to: &[f64]) -> f64 {
    median(&of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>())
}

/// Nanoseconds, for ratios.
#[allow(clippy::cast_precision_loss, reason = "times of a benchmark")]
fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn measure() -> Outcome {
    let folder = tempfile::tempdir()?;
    let certificates: PathBuf = folder.path().join("certificates");
    write_certificates(&certificates, &["host-a".to_owned(), "host-b".to_owned()])?;
    let paths = ["back", "front"].map(|name| folder.path().join(name).display().to_string());
    let [back, front] = paths.each_ref().map(String::as_str);
    let certificates_at = certificates.display().to_string();
    let [link_address, echo_address] = [free_address()?, free_address()?];
    let [link_at, echo_at] = [link_address.to_string(), echo_address.to_string()];
    let _callee = Role::start(&["callee", back])?;
    let _echo = Role::start(&["echo", &echo_at, &certificates_at])?;
    let far = Role::start(&["far", back, &link_at, &certificates_at])?;
    let near = Role::start(&["near", &link_at, front, &certificates_at])?;
    let mut caller = loop {
        std::thread::sleep(Duration::from_millis(50));
        let Ok(mut caller) = Caller::connect(front) else { continue };
        if caller.call(ECHO, b"").is_ok() {
            break caller;
        }
    };
    let runtime = runtime()?;
    let bare = carrier(echo_address, &certificates)?;
    let channel = runtime.block_on(async {
        loop {
            match bare.connect().await {
                Ok(channel) => break channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let channel = Arc::new(channel);
    let tasks = runtime.block_on(AsyncCaller::connect(front))?;
    let mut peer = None;
    match std::env::var_os("TACHYON_PEER") {
        Some(program) => peer = Some(Tonic::start(program.as_ref(), &certificates_at)?),
        None => print("tonic is left out: TACHYON_PEER does not name the program `peer`"),
    }
    for size in SIZES {
        let payload = vec![7; size];
        let [mut engine, mut lane, mut link, mut tonic] = <[Times; 4]>::default();
        let mut processor = Vec::new();
        for _ in 0..ROUNDS {
            engine.one_by_one.push(runtime.block_on(one_by_one_over(&*channel, &payload))?);
            lane.one_by_one.push(runtime.block_on(one_by_one_on_a_lane(&*channel, &payload))?);
            let before = near.processor_time()? + far.processor_time()?;
            link.one_by_one.push(one_by_one_through(&mut caller, &payload)?);
            processor.push(nanos((near.processor_time()? + far.processor_time()?).saturating_sub(before)));
            if let Some(peer) = &mut peer {
                tonic.one_by_one.push(peer.time(&format!("one-by-one {size} {CALLS}"))?);
            }
            engine.in_flight.push(runtime.block_on(in_flight_over(&channel, &payload))?);
            lane.in_flight.push(runtime.block_on(in_flight_on_lanes(&channel, &payload))?);
            link.in_flight.push(runtime.block_on(in_flight_through(&tasks, &payload))?);
            if let Some(peer) = &mut peer {
                tonic.in_flight.push(peer.time(&format!("in-flight {size} {FLIGHT_CALLS} {FLIGHT}"))?);
            }
        }
        report(size, [&engine, &lane, &link], &processor, peer.is_some().then_some(&tonic))?;
    }
    Ok(())
}

fn report(size: usize, own: [&Times; 3], processor: &[f64], tonic: Option<&Times>) -> Outcome {
    let [engine, lane, link] = own;
    let [calls, flight_calls] = [f64::from(u32::try_from(CALLS)?), f64::from(u32::try_from(FLIGHT_CALLS)?)];
    let listed = |shown: &dyn Fn(&Times) -> String| {
        let contenders = [("engine", engine), ("lane", lane), ("link", link)].into_iter();
        let contenders = contenders.chain(tonic.map(|times| ("tonic", times)));
        contenders.map(|(name, times)| format!("{name} {}", shown(times))).collect::<Vec<_>>().join(", ")
    };
    print(&format!("{size} bytes, medians of {ROUNDS} rounds"));
    print(&format!("  one by one: {}", listed(&|times| format!("{:.1} us", median(&times.one_by_one) / 1e3))));
    let compare = |wanted: &str, ratio: &dyn Fn(&Times, &Times) -> f64| {
        print(&format!("    link over engine: {:.2}, over lane: {:.2}", ratio(link, engine), ratio(link, lane)));
        if let Some(tonic) = tonic {
            let [engine, lane, link] = own.map(|times| ratio(times, tonic));
            print(&format!("    over tonic: engine {engine:.2}, lane {lane:.2}, link {link:.2} (wanted {wanted})"));
        }
    };
    compare("<= 2.4", &|of, to| median_ratio(&of.one_by_one, &to.one_by_one));
    print(&format!("    processor time of both ends of the link: {:.1} us a call", median(processor) / calls / 1e3));
    let rate = |times: &Times| format!("{:.0} k/s", flight_calls / median(&times.in_flight) * 1e6);
    print(&format!("  {FLIGHT} in flight: {}", listed(&rate)));
    // A rate falls as the time rises.
    compare(">= 0.7", &|of, to| median_ratio(&to.in_flight, &of.in_flight));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a program that reports")]
fn print(line: &str) {
    println!("{line}");
}

/// A call over the engine alone.
async fn engine_call(channel: &impl Channel, payload: &Bytes) -> Outcome {
    let Lane { sender, mut receiver, .. } = channel.open().await?;
    sender.send(payload.clone()).await?;
    // The message takes the end of this direction along. After the answer it would cost another round trip.
    drop(sender);
    receiver.next().await.ok_or("the lane ended")??;
    end(receiver).await
}

/// Waits for the end of the gRPC call.
async fn end(mut receiver: Receiver) -> Outcome {
    while let Some(message) = receiver.next().await {
        message?;
    }
    Ok(())
}

/// A message each way over an open lane.
async fn exchange(lane: &mut Lane, payload: &Bytes) -> Outcome {
    lane.sender.send(payload.clone()).await?;
    lane.receiver.next().await.ok_or("the lane ended")??;
    Ok(())
}

/// The median of calls over the engine alone.
async fn one_by_one_over(channel: &impl Channel, payload: &[u8]) -> Outcome<f64> {
    let payload = Bytes::copy_from_slice(payload);
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        engine_call(channel, &payload).await?;
        times.push(nanos(began.elapsed()));
    }
    Ok(median(&times))
}

/// The median of messages each way over one lane.
async fn one_by_one_on_a_lane(channel: &impl Channel, payload: &[u8]) -> Outcome<f64> {
    let payload = Bytes::copy_from_slice(payload);
    let mut lane = channel.open().await?;
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        exchange(&mut lane, &payload).await?;
        times.push(nanos(began.elapsed()));
    }
    drop(lane.sender);
    end(lane.receiver).await?;
    Ok(median(&times))
}

/// The median of calls through the link.
fn one_by_one_through(caller: &mut Caller, payload: &[u8]) -> Outcome<f64> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        drop(caller.call(ECHO, payload)?);
        times.push(nanos(began.elapsed()));
    }
    Ok(median(&times))
}

/// Time for calls over the engine alone, with so many in flight.
async fn in_flight_over(channel: &Arc<impl Channel>, payload: &[u8]) -> Outcome<f64> {
    let payload = Bytes::copy_from_slice(payload);
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FLIGHT {
        let (channel, payload) = (Arc::clone(channel), payload.clone());
        tasks.spawn(async move {
            for _ in 0..FLIGHT_CALLS / FLIGHT {
                engine_call(&*channel, &payload).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(nanos(began.elapsed()))
}

/// Time for as many messages each way, each task over a lane of its own, which it opens.
async fn in_flight_on_lanes(channel: &Arc<impl Channel>, payload: &[u8]) -> Outcome<f64> {
    let payload = Bytes::copy_from_slice(payload);
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FLIGHT {
        let (channel, payload) = (Arc::clone(channel), payload.clone());
        tasks.spawn(async move {
            let mut lane = channel.open().await.map_err(|error| error.to_string())?;
            for _ in 0..FLIGHT_CALLS / FLIGHT {
                exchange(&mut lane, &payload).await.map_err(|error| error.to_string())?;
            }
            drop(lane.sender);
            end(lane.receiver).await.map_err(|error| error.to_string())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(nanos(began.elapsed()))
}

/// Time for as many calls through the link.
async fn in_flight_through(caller: &AsyncCaller, payload: &[u8]) -> Outcome<f64> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FLIGHT {
        let (caller, payload) = (caller.clone(), payload.to_vec());
        tasks.spawn(async move {
            for _ in 0..FLIGHT_CALLS / FLIGHT {
                caller.call(ECHO, &payload).await?;
            }
            Ok::<(), tachyon::CallError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(nanos(began.elapsed()))
}
