//! The conformance of a link: callers reach a callee through each carrier as without a link.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tachyon::server::ServerEvent;
use tachyon::{AsyncCaller, CallError, Callee, Caller, ErrorKind, Options, RpcServer, ServerOptions, Stopper};
use tachyon_link::carrier::{Carrier, Incoming, Peer};
use tachyon_link::certificates::write_certificates;
use tachyon_link::grpc::{self, GrpcCarrier, GrpcTarget, Limits};
use tachyon_link::memory::{MemoryCarrier, memory};
use tachyon_link::tls::{ClientTls, Identity, ServerTls};
use tachyon_link::{FarEnd, FarOptions, NearEnd, NearOptions, Policy};
use tachyon_tests::server::{self, Serving};
use tachyon_tests::stock::{
    BYTES, ECHO, StockError, count, dispatcher, double, larger_dispatcher, other, ponder, run_out, sum, take, tenant,
};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(20);

/// Allows all endpoints, or all but one; with texts, or without.
#[derive(Debug, Clone, Copy)]
struct Rules {
    hidden: Option<u16>,
    texts: bool,
    /// Most calls in flight.
    in_flight: usize,
}

impl Policy for Rules {
    fn allows(&self, _: &Peer, msg_type: u16) -> bool {
        self.hidden != Some(msg_type)
    }

    fn texts(&self, _: &Peer) -> bool {
        self.texts
    }
}

const ALL: Rules = Rules { hidden: None, texts: true, in_flight: 4096 };

/// An end of a link on a thread with a runtime of its own.
struct End {
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl End {
    fn start<F: Future<Output = ()>>(end: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(end(stopped));
            // Tasks that hang are left behind.
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        Self { stop: Some(stop), running: Some(running) }
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.join().unwrap();
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

async fn stopped(stop: oneshot::Receiver<()>) {
    // Dropped, in place of a message.
    drop(stop.await);
}

fn near_end<C: Carrier>(carrier: C, front: &Path) -> End {
    let front = front.to_owned();
    let mut options = NearOptions::default();
    options.server = ServerOptions::new().stop_timeout(Duration::from_millis(500));
    options.longest_pause = Duration::from_millis(200);
    End::start(async move |stop| NearEnd::new(carrier, front, options).serve(stopped(stop)).await.unwrap())
}

fn far_options(rules: Rules) -> FarOptions {
    let mut options = FarOptions::default();
    options.in_flight = rules.in_flight;
    options
}

fn far_end(back: &Path, incoming: mpsc::Receiver<Incoming>, rules: Rules) -> End {
    let back = back.to_owned();
    End::start(async move |stop| {
        FarEnd::new(back, far_options(rules)).serve(incoming, rules, stopped(stop)).await;
    })
}

fn serve(path: &Path, dispatcher: tachyon::Dispatcher) -> (Stopper, Serving) {
    let options = ServerOptions::new().stop_timeout(Duration::from_secs(1)).ring_sizes(1 << 21, 1 << 21);
    server::serve(RpcServer::listen_with(path, options).unwrap(), dispatcher, 2)
}

/// A carrier between the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Memory,
    Grpc,
    GrpcWithTls,
}

const WIRES: [Wire; 3] = [Wire::Memory, Wire::Grpc, Wire::GrpcWithTls];

/// Bytes of the longest message.
const MAX_MESSAGE: usize = 1 << 20;

/// A way from near ends to the far end, whichever far end runs.
enum Way {
    Memory(MemoryCarrier),
    Grpc { address: SocketAddr, certificates: Option<PathBuf> },
}

fn limits() -> Limits {
    Limits { max_message: MAX_MESSAGE, ..Limits::default() }
}

fn identity(certificates: &Path, name: &str) -> Identity {
    Identity { cert: certificates.join(format!("{name}.pem")), key: certificates.join(format!("{name}.key")) }
}

impl Way {
    fn near_end(&self, front: &Path) -> End {
        match self {
            Self::Memory(carrier) => near_end(carrier.clone(), front),
            Self::Grpc { address, certificates } => {
                let tls = certificates.as_ref().map(|folder| {
                    let (ca, name) = (folder.join("authority.pem"), Some("host-b".to_owned()));
                    Arc::new(ClientTls::new(ca, Some(identity(folder, "host-a")), name).unwrap())
                });
                let target = GrpcTarget { address: address.to_string(), tls, limits: limits() };
                near_end(GrpcCarrier::new(target), front)
            }
        }
    }

    /// Starts a far end, perhaps after another one.
    fn far_end(&self, back: &Path, rules: Rules) -> End {
        match self {
            Self::Memory(carrier) => {
                let (far, incoming) = mpsc::channel(16);
                carrier.replace_far(Some(far));
                far_end(back, incoming, rules)
            }
            Self::Grpc { address, certificates } => {
                let (address, back) = (*address, back.to_owned());
                let tls = certificates.as_ref().map(|folder| {
                    let ca = Some(folder.join("authority.pem"));
                    Arc::new(ServerTls::new(identity(folder, "host-b"), ca).unwrap())
                });
                End::start(async move |stop| {
                    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                    let (sender, incoming) = mpsc::channel(16);
                    let (stopped_too, also) = oneshot::channel::<()>();
                    let accepting = tokio::spawn(grpc::serve(listener, tls, limits(), sender, stopped(also)));
                    let far = FarEnd::new(back, far_options(rules));
                    far.serve(incoming, rules, stopped(stop)).await;
                    drop(stopped_too);
                    // The last replies leave.
                    drop(tokio::time::timeout(Duration::from_secs(2), accepting).await);
                })
            }
        }
    }

    /// Lets no near end find a far end any more.
    fn close(&self) {
        if let Self::Memory(carrier) = self {
            carrier.replace_far(None);
        }
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A callee behind a link.
struct Setup {
    _folders: Vec<TempDir>,
    front: PathBuf,
    back: PathBuf,
    callee: Option<(Stopper, Serving)>,
    near: End,
    far: End,
    way: Way,
}

impl Setup {
    fn start(wire: Wire, rules: Rules) -> Self {
        let ((front_folder, front), (back_folder, back)) = (socket(), socket());
        let way = match wire {
            Wire::Memory => Way::Memory(memory(Some("host-a")).0),
            Wire::Grpc => Way::Grpc { address: free_address(), certificates: None },
            Wire::GrpcWithTls => {
                let folder = back_folder.path().join("certificates");
                write_certificates(&folder, &["host-a".to_owned(), "host-b".to_owned()]).unwrap();
                Way::Grpc { address: free_address(), certificates: Some(folder) }
            }
        };
        let callee = serve(&back, dispatcher().unwrap());
        let (far, near) = (way.far_end(&back, rules), way.near_end(&front));
        let callee = Some(callee);
        let setup = Self { _folders: vec![front_folder, back_folder], front, back, callee, near, far, way };
        setup.connected();
        setup
    }

    /// The name of the near end, for the callee.
    fn origin(&self) -> &'static str {
        if matches!(self.way, Way::Grpc { certificates: None, .. }) { "127.0.0.1" } else { "host-a" }
    }

    fn caller(&self) -> Caller {
        let mut caller = None;
        wait::until("the near end listens", PATIENCE, || {
            let options = Options::new().timeout(PATIENCE).ring_sizes(1 << 21, 1 << 21);
            caller = Caller::connect_with(&self.front, &options).ok();
            caller.is_some()
        });
        caller.unwrap()
    }

    /// Waits until a call reaches the callee.
    fn connected(&self) {
        let mut caller = self.caller();
        wait::until("the link is connected", PATIENCE, || match caller.call_timeout(ECHO, b"", PATIENCE).map(drop) {
            Ok(()) => true,
            Err(error) => {
                assert!(!error.sent(), "{error}");
                if !matches!(error, CallError::Remote(_)) {
                    caller = self.caller();
                }
                false
            }
        });
    }

    fn stop_callee(&mut self) {
        let (stopper, serving) = self.callee.take().unwrap();
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if let Some((stopper, _)) = &self.callee {
            stopper.stop();
        }
        self.near.stop();
        self.far.stop();
    }
}

fn remote<T>(outcome: Result<T, CallError>) -> tachyon::RpcError {
    match outcome.map(drop) {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_errors_metadata_and_deadlines_pass_through() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        for size in [0, 1, 200, 5_000, 900_000] {
            let message = vec![3; size];
            assert_eq!(&*caller.call(ECHO, &message).unwrap(), message);
        }
        assert_eq!(take::call(&mut caller, "tea", 3).unwrap(), 2);
        let missing = StockError::Missing { article: "tea".into(), missing: 2 };
        assert!(matches!(take::call(&mut caller, "tea", 7), Err(CallError::Failed(error)) if error == missing));
        let calls = caller.within(PATIENCE);
        assert_eq!(
            tenant::call(&mut calls.metadata("tenant", "acme")).unwrap(),
            format!("acme {} true", setup.origin())
        );
        // A caller with all the metadata that it may have.
        let most = "x".repeat(1024 - 3 - "tenant".len());
        let full = format!("{most} {} false", setup.origin());
        assert_eq!(tenant::call(&mut caller.metadata("tenant", &most)).unwrap(), full);
        // The far end alone tells the origin.
        let origin = format!("- {} false", setup.origin());
        assert_eq!(tenant::call(&mut caller.metadata("link.origin", "forged")).unwrap(), origin);
        assert_eq!(remote(caller.call(999, b"")).kind, ErrorKind::NoHandler);
        // The comparison takes a part of the first call's time.
        assert!(!ponder::call(&mut caller, 0).unwrap());
        let hasty = ponder::call(&mut caller.within(Duration::from_millis(50)), 10_000);
        // The handler sees the deadline, too, and its reply may be there before the caller looks at the clock.
        assert!(matches!(hasty, Err(CallError::TimedOut { sent: true }) | Ok(true)), "{hasty:?}");
        assert_eq!(&*caller.call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
    }
}

#[test]
fn streams_of_all_kinds_pass_through() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        for to in [0, 1, 1000, 20_000] {
            let counted: Vec<u32> = count::open(&mut caller, to).unwrap().map(Result::unwrap).collect();
            assert_eq!(counted, (0..to).collect::<Vec<_>>());
        }
        for numbers in [0, 1, 5000] {
            let mut upload = sum::open(&mut caller).unwrap();
            for number in 0..numbers {
                assert!(upload.send(number).unwrap());
            }
            assert_eq!(upload.finish().unwrap(), (0..u64::from(numbers)).sum::<u64>());
        }
        let mut doubled = double::open(&mut caller).unwrap();
        for number in 0..100 {
            assert!(doubled.send(number).unwrap());
            assert_eq!(doubled.next().unwrap().unwrap(), number * 2);
        }
        doubled.end().unwrap();
        assert!(doubled.next().is_none());
        drop(doubled);
        let mut failing = run_out::open(&mut caller, 3).unwrap();
        assert_eq!([(); 3].map(|()| failing.next().unwrap().unwrap()), [0, 1, 2]);
        let error = failing.next().unwrap().unwrap_err();
        assert!(matches!(error, CallError::Failed(StockError::Missing { missing: 3, .. })), "{error}");
        drop(failing);
        // An endless stream that is dropped, over and over, leaves no stream open: 40 are more than a connection has.
        for _ in 0..40 {
            let mut endless = count::open(&mut caller, u32::MAX).unwrap();
            assert_eq!(endless.next().unwrap().unwrap(), 0);
        }
        assert_eq!(remote(caller.call(11, &[0; 8])).kind, ErrorKind::BadRequest);
    }
}

#[test]
fn many_short_streams_that_end_or_are_dropped_leave_the_channel_open() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        for number in 0..3000 {
            let mut short = count::open(&mut caller, 2).unwrap();
            assert_eq!(short.next().unwrap().unwrap(), 0, "{wire:?}, stream {number}");
            // Each second one is dropped with an item under way.
            if number % 2 == 0 {
                assert_eq!(short.next().unwrap().unwrap(), 1);
                assert!(short.next().is_none());
            }
        }
    }
}

#[test]
fn more_streams_than_one_connection_has() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        // As many as the callee has threads for.
        let mut callers = [setup.caller(), setup.caller()];
        let streams =
            callers.each_mut().map(|caller| (0..32).map(|_| caller.open(12, b"").unwrap()).collect::<Vec<_>>());
        for (caller, streams) in callers.iter_mut().zip(streams) {
            for stream in streams {
                assert!(caller.send_item(stream, &7u32.to_le_bytes()).unwrap());
                caller.end_items(stream).unwrap();
                assert_eq!(&*caller.finish_timeout(stream, PATIENCE).unwrap(), 7u64.to_le_bytes());
            }
        }
    }
}

#[test]
fn an_unread_stream_keeps_no_call_waiting() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        let unread: Vec<_> = (0..20).map(|_| caller.open(11, &u32::MAX.to_le_bytes()).unwrap()).collect();
        for _ in 0..200 {
            assert_eq!(&*caller.call_timeout(ECHO, b"beside", PATIENCE).unwrap(), b"beside");
        }
        for stream in unread {
            assert!(caller.forget(stream));
        }
    }
}

#[test]
fn a_slow_call_of_one_caller_keeps_no_other_caller_waiting() {
    std::thread::scope(|scope| {
        for wire in WIRES {
            scope.spawn(move || {
                let setup = Setup::start(wire, ALL);
                let (mut slow, mut other) = (setup.caller(), setup.caller());
                // The callee has two workers.
                let call = slow.start(15, &3000_u32.to_le_bytes()).unwrap();
                let began = Instant::now();
                for _ in 0..5 {
                    assert_eq!(&*other.call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
                }
                assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
                assert_eq!(&*slow.finish_timeout(call, PATIENCE).unwrap(), [0]);
            });
        }
    });
}

#[test]
fn callers_share_connections_that_are_free_and_give_them_back() {
    let mut setup = Setup::start(Wire::Memory, ALL);
    setup.stop_callee();
    let mut dispatcher = dispatcher().unwrap();
    // Takes no notice of a cancel.
    let stubborn = |_: &[u8]| {
        std::thread::sleep(Duration::from_secs(3));
        ""
    };
    dispatcher.register(21, "stubborn", stubborn).unwrap();
    let mut server = RpcServer::listen_with(&setup.back, ServerOptions::new()).unwrap();
    let connected = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let counted = Arc::clone(&connected);
    server.on_event(move |event| match event {
        ServerEvent::Joined(_) => drop(counted[0].fetch_add(1, Ordering::SeqCst)),
        ServerEvent::Left(..) => drop(counted[1].fetch_add(1, Ordering::SeqCst)),
        _ => {}
    });
    let counts = || connected.each_ref().map(|count| count.load(Ordering::SeqCst));
    setup.callee = Some(server::serve(server, dispatcher, 2));
    setup.connected();
    // Callers one after the other have one connection.
    for _ in 0..10 {
        assert_eq!(&*setup.caller().call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
    }
    assert_eq!(counts(), [1, 0]);
    let mut callers: Vec<_> = (0..50).map(|_| setup.caller()).collect();
    for _ in 0..2 {
        let mut calls = Vec::new();
        for caller in &mut callers {
            calls.push(caller.start(15, &20_u32.to_le_bytes()).unwrap());
        }
        for (caller, call) in callers.iter_mut().zip(calls) {
            assert_eq!(&*caller.finish_timeout(call, PATIENCE).unwrap(), [0]);
        }
        let [joined, left] = counts();
        assert!((3..=32).contains(&joined) && left == 0, "{joined} connections, {left} left");
    }
    // A caller that has given a call up leaves the handler behind.
    let began = Instant::now();
    let [hasty, other] = &mut callers[..2] else { unreachable!() };
    let given_up = hasty.call_timeout(21, b"", Duration::from_millis(100)).map(drop).unwrap_err();
    assert!(matches!(given_up, CallError::TimedOut { .. }), "{given_up}");
    for _ in 0..40 {
        assert_eq!(&*other.call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
    }
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    wait::until("the connections are given back", Duration::from_mins(1), || counts()[0] - counts()[1] == 1);
    assert_eq!(&*callers[0].call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
}

#[test]
fn contracts_are_compared_with_the_same_sentence() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut direct = Caller::connect(&setup.back).unwrap();
        let without = other::take::call(&mut direct, "tea", 1).unwrap_err();
        let mut caller = setup.caller();
        let with = other::take::call(&mut caller, "tea", 1).unwrap_err();
        assert!(matches!(with, CallError::Mismatch(_)) && !with.sent());
        assert_eq!(with.to_string(), without.to_string());
        assert_eq!(caller.describe().unwrap(), direct.describe().unwrap());
    }
}

#[test]
fn an_endpoint_that_is_not_allowed_is_refused_and_not_described() {
    for wire in WIRES {
        let setup = Setup::start(wire, Rules { hidden: Some(10), texts: false, ..ALL });
        let mut caller = setup.caller();
        assert!(caller.describe().unwrap().endpoint(10).is_none());
        assert_eq!(remote(caller.call(10, b"")).kind, ErrorKind::PermissionDenied);
        let stream = caller.open(10, b"").unwrap();
        assert_eq!(remote(caller.next_item_timeout(stream, PATIENCE)).kind, ErrorKind::PermissionDenied);
        // Texts do not travel. Names and fields of declared errors do.
        let mut failing = run_out::open(&mut caller, 1).unwrap();
        assert_eq!(failing.next().unwrap().unwrap(), 0);
        assert!(matches!(failing.next(), Some(Err(CallError::Failed(StockError::Missing { missing: 1, .. })))));
        drop(failing);
        let refused = remote(caller.call(12, b""));
        assert_eq!((refused.kind, &*refused.text), (ErrorKind::BadRequest, ""));
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_and_the_link_goes_on() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        let refused = remote(caller.call(ECHO, &vec![0; 1 << 20]));
        assert_eq!(refused.kind, ErrorKind::BadRequest);
        assert!(!refused.kind.has_begun() && refused.text.contains("max_message"), "{refused}");
        let refused = remote(caller.call(BYTES, &(1_u32 << 20).to_le_bytes()));
        assert_eq!(refused.kind, ErrorKind::ReplyTooLarge);
        let stream = caller.open(12, b"").unwrap();
        assert!(caller.send_item(stream, &vec![0; 1 << 20]).unwrap());
        assert_eq!(
            caller.finish_timeout(stream, PATIENCE).unwrap().error().unwrap().kind,
            ErrorKind::ResourceExhausted
        );
        assert_eq!(&*caller.call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
    }
}

#[test]
fn long_calls_of_several_callers_and_short_ones_pass_beside_each_other() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        std::thread::scope(|scope| {
            let long: Vec<_> = (0..6u8)
                .map(|number| {
                    let mut caller = setup.caller();
                    scope.spawn(move || {
                        for round in 0..5 {
                            let request: Vec<_> =
                                (0..900_000_u32).map(|at| at.to_le_bytes()[round % 2] ^ number).collect();
                            assert_eq!(&*caller.call_timeout(ECHO, &request, PATIENCE).unwrap(), &*request);
                            let reply = caller.call_timeout(BYTES, &900_000_u32.to_le_bytes(), PATIENCE).unwrap();
                            assert!(reply.len() == 900_000 && reply.iter().all(|&byte| byte == 7));
                            drop(reply);
                            // One that is given up on its way.
                            let call = caller.start(ECHO, &request).unwrap();
                            caller.forget(call);
                        }
                    })
                })
                .collect();
            let mut caller = setup.caller();
            while long.iter().any(|thread| !thread.is_finished()) {
                assert_eq!(&*caller.call_timeout(ECHO, b"short", PATIENCE).unwrap(), b"short");
            }
            for thread in long {
                thread.join().unwrap();
            }
        });
    }
}

#[test]
fn an_error_that_is_too_long_keeps_its_kind_and_the_link_goes_on() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let (mut caller, mut other) = (setup.caller(), setup.caller());
        let beside = other.start(15, &500u32.to_le_bytes()).unwrap();
        // The error has the article in its text, and in its fields.
        let refused = take::call(&mut caller, &"a".repeat(600_000), 7).unwrap_err();
        assert!(matches!(&refused, CallError::Remote(error) if error.kind == ErrorKind::ResourceExhausted));
        assert_eq!(&*other.finish_timeout(beside, PATIENCE).unwrap(), [0]);
    }
}

#[test]
fn calls_to_an_absent_callee_fail_together() {
    for wire in WIRES {
        let mut setup = Setup::start(wire, ALL);
        setup.stop_callee();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let caller = AsyncCaller::connect_with(&setup.front, &Options::new().timeout(PATIENCE)).await.unwrap();
            let began = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..100 {
                let caller = caller.clone();
                tasks.spawn(async move { caller.call(ECHO, b"").await.unwrap_err() });
            }
            while let Some(error) = tasks.join_next().await {
                let error = error.unwrap();
                assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{error}");
            }
            // An attempt takes a second.
            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        });
    }
}

#[test]
fn calls_that_are_given_up_make_room_at_a_full_far_end() {
    for wire in WIRES {
        let setup = Setup::start(wire, Rules { in_flight: 2, ..ALL });
        for _ in 0..3 {
            let mut caller = setup.caller();
            for _ in 0..6 {
                caller.start(15, &60_000u32.to_le_bytes()).unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
            drop(caller);
        }
        assert_eq!(&*setup.caller().call_timeout(ECHO, b"next", PATIENCE).unwrap(), b"next");
    }
}

#[test]
fn a_callee_that_restarts_is_reported_and_served_again() {
    for wire in WIRES {
        let mut setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        assert_eq!(take::call(&mut caller, "tea", 1).unwrap(), 4);
        setup.stop_callee();
        let gone = take::call(&mut caller, "tea", 1).unwrap_err();
        assert!(matches!(&gone, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{gone}");
        assert!(!gone.sent());
        setup.callee = Some(serve(&setup.back, dispatcher().unwrap()));
        // The same endpoints: the connection of the caller goes on.
        assert_eq!(take::call(&mut caller, "tea", 1).unwrap(), 4);
        // Other endpoints: the caller has to connect, and to compare its side, again.
        setup.stop_callee();
        setup.callee = Some(serve(&setup.back, larger_dispatcher().unwrap()));
        let refused = take::call(&mut caller, "tea", 1).unwrap_err();
        assert!(!refused.sent(), "{refused}");
        wait::until("the caller is told to connect again", PATIENCE, || {
            matches!(caller.call_timeout(ECHO, b"", PATIENCE), Err(CallError::Closed { .. }))
        });
        setup.connected();
        assert_eq!(take::call(&mut setup.caller(), "tea", 1).unwrap(), 4);
    }
}

#[test]
fn a_callee_of_one_caller_without_a_dispatcher_takes_the_place_of_another() {
    for wire in WIRES {
        let mut setup = Setup::start(wire, ALL);
        let mut typed = setup.caller();
        assert_eq!(take::call(&mut typed, "tea", 1).unwrap(), 4);
        setup.stop_callee();
        let back = setup.back.clone();
        let lone = std::thread::spawn(move || {
            let mut callee = Callee::listen(&back, 1 << 16, 1 << 16).unwrap();
            loop {
                let request = callee.serve().unwrap();
                let (id, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
                drop(request);
                callee.reply(id, msg_type, &payload).unwrap();
                if payload == b"last" {
                    return;
                }
            }
        });
        // The caller that has compared itself with the other callee does not reach this one.
        wait::until("the caller is told to connect again", PATIENCE, || {
            match typed.call_timeout(ECHO, b"", PATIENCE).map(drop) {
                Err(CallError::Closed { .. }) => true,
                Err(error) => {
                    assert!(!error.sent(), "{error}");
                    false
                }
                Ok(()) => panic!("reached"),
            }
        });
        setup.connected();
        for _ in 0..2 {
            assert_eq!(&*setup.caller().call_timeout(ECHO, b"raw", PATIENCE).unwrap(), b"raw");
        }
        let mut callers = [(); 3].map(|()| setup.caller());
        let calls = callers.each_mut().map(|caller| caller.start(ECHO, b"together").unwrap());
        for (caller, call) in callers.iter_mut().zip(calls) {
            assert_eq!(&*caller.finish_timeout(call, PATIENCE).unwrap(), b"together");
        }
        setup.caller().call_timeout(ECHO, b"last", PATIENCE).unwrap();
        lone.join().unwrap();
    }
}

#[test]
fn a_far_end_that_restarts_is_reported_and_found_again() {
    for wire in WIRES {
        let mut setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        let call = caller.start(15, &2_000u32.to_le_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        setup.way.close();
        // The stop waits for the call.
        setup.far.stop();
        assert_eq!(&*caller.finish_timeout(call, PATIENCE).unwrap(), [0]);
        wait::until("calls are refused", PATIENCE, || match caller.call_timeout(ECHO, b"", PATIENCE).map(drop) {
            Ok(()) => false,
            Err(error) => {
                assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{error}");
                true
            }
        });
        setup.far = setup.way.far_end(&setup.back, ALL);
        setup.connected();
        assert_eq!(&*caller.call_timeout(ECHO, b"again", PATIENCE).unwrap(), b"again");
    }
}

#[test]
fn a_caller_that_leaves_cancels_its_calls_and_streams() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let mut caller = setup.caller();
        caller.start(15, &10_000u32.to_le_bytes()).unwrap();
        caller.open(12, b"").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        drop(caller);
        // The handlers see the cancel: the callee stops at once.
        let mut setup = setup;
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        setup.stop_callee();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn two_links_in_a_row_and_two_callers_of_one() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let (_folder, front) = socket();
        let second = Way::Memory(memory(Some("host-a")).0);
        let (mut far, mut near) = (second.far_end(&setup.front, ALL), second.near_end(&front));
        let origin = format!("- {} false", setup.origin());
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let (front, origin) = (front.clone(), origin.clone());
                std::thread::spawn(move || {
                    wait::until("the second link listens", PATIENCE, || Caller::connect(&front).is_ok());
                    let mut caller = Caller::connect_with(&front, &Options::new().timeout(PATIENCE)).unwrap();
                    wait::until("both links are connected", PATIENCE, || caller.call(ECHO, b"").is_ok());
                    for article in 0..200 {
                        assert_eq!(take::call(&mut caller, &format!("article {article}"), 2).unwrap(), 3);
                    }
                    let counted: Vec<u32> = count::open(&mut caller, 500).unwrap().map(Result::unwrap).collect();
                    assert_eq!(counted.len(), 500);
                    assert_eq!(tenant::call(&mut caller).unwrap(), origin);
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        near.stop();
        far.stop();
    }
}

#[test]
fn tasks_call_through_a_link() {
    for wire in WIRES {
        let setup = Setup::start(wire, ALL);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let caller = AsyncCaller::connect_with(&setup.front, &Options::new().timeout(PATIENCE)).await.unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            // More than the local server and the callee run at a time.
            for number in 0..1000u32 {
                let caller = caller.clone();
                tasks.spawn(async move {
                    let reply = caller.call(ECHO, &number.to_le_bytes()).await.unwrap();
                    assert_eq!(reply, number.to_le_bytes());
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
            let numbers = count::stream(&caller, 300).await.unwrap();
            let mut sum = 0;
            while let Some(number) = numbers.recv().await {
                sum += number.unwrap();
            }
            assert_eq!(sum, 44_850);
        });
    }
}
