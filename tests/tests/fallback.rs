//! Fallbacks: they answer what no endpoint of the table takes, and pass it on to another callee.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::describe::Description;
use tachyon::dispatch::{Fallback, FallbackRequest};
use tachyon::{
    AsyncCaller, CallError, Caller, Dispatcher, ErrorKind, HandlerError, Items, Options, RpcServer, ServeError,
    ServerOptions, Stopper, StreamSender,
};
use tachyon_tests::server::{self, Serving};
use tachyon_tests::stock::{StockError, count, dispatcher, double, other, ponder, sum, take, tenant};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tempfile::TempDir;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(20);

/// Passes everything on.
struct Proxy {
    back: AsyncCaller,
    open: Arc<AtomicUsize>,
}

/// Counts a stream while it is open.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fallback for Proxy {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        let back = self.back.on_behalf_of(&request.context());
        back.call(request.msg_type(), request.payload()).await.map_err(HandlerError::passed_on)
    }

    async fn open(
        &self,
        request: FallbackRequest,
        items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(Arc::clone(&self.open));
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

/// Replies with items of a length.
const FRAMES: u16 = 20;
/// The endpoint of the proxy itself.
const OWN: u16 = 30;

/// The callee behind the proxy, and the proxy before it.
struct Setup {
    _folders: [TempDir; 2],
    front: PathBuf,
    back: PathBuf,
    open: Arc<AtomicUsize>,
    callee: Option<(Stopper, Serving)>,
    proxy: (Stopper, Serving),
}

fn serve_back(path: &std::path::Path) -> (Stopper, Serving) {
    let mut dispatcher = dispatcher().unwrap();
    let frames = |request: &[u8]| {
        let len = request.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        std::iter::repeat_with(move || vec![0_u8; len as usize])
    };
    dispatcher.register_stream(FRAMES, "frames", frames).unwrap();
    let server = RpcServer::listen_with(path, ServerOptions::new().stop_timeout(Duration::from_secs(1))).unwrap();
    server::serve(server, dispatcher, 2)
}

impl Setup {
    fn start() -> Self {
        let ((back_folder, back), (front_folder, front)) = (socket(), socket());
        let callee = serve_back(&back);
        let open = Arc::new(AtomicUsize::new(0));
        let proxy = serve_front(&front, &back, &open);
        Self { _folders: [back_folder, front_folder], front, back, open, callee: Some(callee), proxy }
    }

    fn caller(&self) -> Caller {
        Caller::connect_with(&self.front, &Options::new().timeout(PATIENCE)).unwrap()
    }

    fn stop_callee(&mut self) {
        let (stopper, serving) = self.callee.take().unwrap();
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.proxy.0.stop();
        if let Some((stopper, _)) = &self.callee {
            stopper.stop();
        }
    }
}

/// Serves a proxy on a thread with a runtime of its own.
fn serve_front(front: &std::path::Path, back: &std::path::Path, open: &Arc<AtomicUsize>) -> (Stopper, Serving) {
    let server = RpcServer::listen_with(front, ServerOptions::new().stop_timeout(Duration::from_secs(1))).unwrap();
    let (back, open) = (back.to_owned(), Arc::clone(open));
    serve_fallback(server, async move || {
        let options = Options::new().reconnect(true).timeout(Duration::from_millis(500));
        let back = AsyncCaller::connect_with(back, &options).await.unwrap();
        Proxy { back, open }
    })
}

fn serve_fallback<F: Fallback>(
    server: RpcServer,
    fallback: impl AsyncFnOnce() -> F + Send + 'static,
) -> (Stopper, Serving) {
    serve_table(server, async move || table(fallback().await))
}

/// A table with a fallback, and an endpoint of its own.
fn table(fallback: impl Fallback) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(OWN, "own", |_: &[u8]| "own").unwrap();
    dispatcher.fallback(fallback);
    dispatcher
}

fn serve_table(mut server: RpcServer, table: impl AsyncFnOnce() -> Dispatcher + Send + 'static) -> (Stopper, Serving) {
    let stopper = server.stopper();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { table().await.serve_async(&mut server).await })
    });
    (stopper, serving)
}

#[test]
fn calls_errors_and_metadata_pass_through() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    assert_eq!(&*caller.call(1, b"bytes").unwrap(), b"bytes");
    assert_eq!(&*caller.call(OWN, b"").unwrap(), b"own");
    assert_eq!(take::call(&mut caller, "tea", 3).unwrap(), 2);
    let missing = StockError::Missing { article: "tea".into(), missing: 2 };
    assert!(matches!(take::call(&mut caller, "tea", 7), Err(CallError::Failed(error)) if error == missing));
    assert_eq!(tenant::call(&mut caller).unwrap(), "- - false");
    let calls = caller.within(PATIENCE);
    assert_eq!(tenant::call(&mut calls.metadata("tenant", "acme")).unwrap(), "acme - true");
    let unknown = caller.call(999, b"").map(drop).unwrap_err();
    assert!(matches!(&unknown, CallError::Remote(error) if error.kind == ErrorKind::NoHandler), "{unknown}");
    assert!(!unknown.sent());
}

#[test]
fn streams_of_all_kinds_pass_through() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    let counted: Vec<u32> = count::open(&mut caller, 1000).unwrap().map(Result::unwrap).collect();
    assert_eq!(counted, (0..1000).collect::<Vec<_>>());
    let mut upload = sum::open(&mut caller).unwrap();
    for number in 0..1000u32 {
        assert!(upload.send(&number).unwrap());
    }
    assert_eq!(upload.finish().unwrap(), 499_500);
    let mut doubled = double::open(&mut caller).unwrap();
    for number in 0..100u32 {
        assert!(doubled.send(&number).unwrap());
        assert_eq!(doubled.next().unwrap().unwrap(), number * 2);
    }
    doubled.end().unwrap();
    assert!(doubled.next().is_none());
    drop(doubled);
    // A call of a stream, and a stream of a call: the callee's refusals.
    let refused = caller.call(11, &[0; 8]).map(drop).unwrap_err();
    assert!(matches!(&refused, CallError::Remote(error) if error.kind == ErrorKind::BadRequest), "{refused}");
    let stream = caller.open(1, b"").unwrap();
    let refused = caller.next_item(stream).unwrap_err();
    assert!(matches!(&refused, CallError::Remote(error) if error.kind == ErrorKind::BadRequest), "{refused}");
    // Dropped by the caller: cancelled behind the proxy.
    drop(count::open(&mut caller, u32::MAX).unwrap());
    wait::until("the proxy's streams end", PATIENCE, || setup.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn contracts_are_compared_and_described_through_the_proxy() {
    let mut setup = Setup::start();
    let mut direct = Caller::connect(&setup.back).unwrap();
    let without = other::take::call(&mut direct, "tea", 1).unwrap_err().to_string();
    let mut caller = setup.caller();
    let with = other::take::call(&mut caller, "tea", 1).unwrap_err();
    assert!(matches!(with, CallError::Mismatch(_)) && !with.sent());
    assert_eq!(with.to_string(), without);
    let (all, behind) = (caller.describe().unwrap(), direct.describe().unwrap());
    assert_eq!(all.endpoints.len(), behind.endpoints.len() + 1);
    assert!(all.endpoint(OWN).is_some());
    assert_eq!(all.endpoint(13), behind.endpoint(13));
    assert_eq!(caller.describe_endpoint(13, Some(PATIENCE)).unwrap().as_ref(), behind.endpoint(13));
    assert_eq!(caller.describe_endpoint(999, Some(PATIENCE)).unwrap(), None);
    // Without the callee nothing is compared, and nothing is sent.
    drop(direct);
    setup.stop_callee();
    let mut fresh = setup.caller();
    let error = take::call(&mut fresh, "tea", 1).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{error}");
    assert!(!error.sent());
}

#[test]
fn limits_tell_lengths_and_the_version() {
    let mut setup = Setup::start();
    let mut direct = Caller::connect(&setup.back).unwrap();
    let of_callee = direct.limits(PATIENCE).unwrap();
    assert_eq!(of_callee.max_request, direct.max_len() as u64);
    assert!(of_callee.max_reply > 0);
    assert_eq!(Caller::connect(&setup.back).unwrap().limits(PATIENCE).unwrap(), of_callee);
    // The version of a proxy follows the version of its callee.
    let before = setup.caller().limits(PATIENCE).unwrap().version;
    assert_ne!(before, of_callee.version);
    assert_eq!(setup.caller().limits(PATIENCE).unwrap().version, before);
    drop(direct);
    setup.stop_callee();
    let error = setup.caller().limits(PATIENCE).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{error}");
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    setup.callee = Some(server::serve(RpcServer::listen(&setup.back).unwrap(), dispatcher, 1));
    assert_ne!(setup.caller().limits(PATIENCE).unwrap().version, before);
}

#[test]
fn a_callee_that_restarts_is_reported_as_what_it_is() {
    let mut setup = Setup::start();
    let mut caller = setup.caller();
    let slow = caller.start(15, &300u32.to_le_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    setup.stop_callee();
    // The handler had begun, and the stop awaits it.
    drop(caller.finish_timeout(slow, PATIENCE).unwrap());
    let error = caller.call_timeout(1, b"", PATIENCE).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unreachable), "{error}");
    assert!(!error.sent());
    setup.callee = Some(serve_back(&setup.back));
    assert_eq!(&*caller.call_timeout(1, b"again", PATIENCE).unwrap(), b"again");
}

#[test]
fn a_caller_that_gives_up_cancels_behind_the_proxy() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    let error = ponder::call(&mut caller.within(Duration::from_millis(20)), 1000).unwrap_err();
    assert!(matches!(error, CallError::TimedOut { sent: true }));
    assert_eq!(&*caller.call_timeout(1, b"next", PATIENCE).unwrap(), b"next");
}

/// Answers from another thread, or refuses.
struct Elsewhere {
    questions: Mutex<std::sync::mpsc::Sender<(u16, oneshot::Sender<Vec<u8>>)>>,
    calls: AtomicU64,
}

impl Fallback for Elsewhere {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (answer, answered) = oneshot::channel();
        let asked = self.questions.lock().unwrap().send((request.msg_type(), answer));
        asked.map_err(HandlerError::failed)?;
        answered.await.map_err(|_| HandlerError::new(ErrorKind::Stopping, "nobody answers"))
    }
}

#[test]
fn an_answer_may_come_from_any_thread() {
    let (_folder, path) = socket();
    let (questions, asked) = std::sync::mpsc::channel();
    let answering = std::thread::spawn(move || {
        // In the other order.
        let pending: Vec<(u16, oneshot::Sender<Vec<u8>>)> = asked.iter().take(100).collect();
        for (msg_type, answer) in pending.into_iter().rev() {
            answer.send(msg_type.to_le_bytes().to_vec()).unwrap();
        }
        // The next question is dropped without an answer.
        drop(asked.recv());
    });
    let server = RpcServer::listen(&path).unwrap();
    let (stopper, serving) =
        serve_fallback(server, async move || Elsewhere { questions: Mutex::new(questions), calls: AtomicU64::new(0) });
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (100..200).map(|msg_type| (msg_type, caller.start(msg_type, b"").unwrap())).collect();
    for (msg_type, call) in calls {
        assert_eq!(&*caller.finish_timeout(call, PATIENCE).unwrap(), msg_type.to_le_bytes());
    }
    // Of a handler's own error the kind `Stopping` travels as `Unavailable`.
    let error = caller.call_timeout(300, b"", PATIENCE).map(drop).unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!((error.kind, &*error.text), (ErrorKind::Unavailable, "nobody answers"));
    // By default a fallback has no streams, and describes nothing.
    let stream = caller.open(300, b"").unwrap();
    let refused = caller.next_item_timeout(stream, PATIENCE).unwrap_err();
    assert!(matches!(&refused, CallError::Remote(error) if error.kind == ErrorKind::NoHandler), "{refused}");
    assert_eq!(caller.describe_timeout(PATIENCE).unwrap().endpoints.len(), 1);
    answering.join().unwrap();
    stopper.stop();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_fallback_needs_a_runtime() {
    let (_folder, path) = socket();
    let (questions, _asked) = std::sync::mpsc::channel();
    let mut dispatcher = Dispatcher::default();
    dispatcher.fallback(Elsewhere { questions: Mutex::new(questions), calls: AtomicU64::new(0) });
    let mut server = RpcServer::listen(&path).unwrap();
    let refused = dispatcher.serve_forever(&mut server).unwrap_err();
    assert!(matches!(&refused, ServeError::NeedsRuntime { name, .. } if name == "fallback"), "{refused}");
}

#[test]
fn a_caller_that_leaves_drops_what_the_fallback_has_begun() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    let streams: Vec<_> = (0..5).map(|_| caller.open(12, b"").unwrap()).collect();
    wait::until("the proxy has opened all", PATIENCE, || setup.open.load(Ordering::SeqCst) == streams.len());
    drop(caller);
    wait::until("the proxy has dropped all", PATIENCE, || setup.open.load(Ordering::SeqCst) == 0);
}

/// Waits in each method until it is dropped, and counts.
#[derive(Clone, Default)]
struct Pending {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    answers: Arc<tokio::sync::Notify>,
    described: Arc<AtomicUsize>,
}

impl Pending {
    async fn wait(&self) {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        let _counted = Counted(Arc::clone(&self.open));
        self.most.fetch_max(open, Ordering::SeqCst);
        self.answers.notified().await;
    }

    fn until_open(&self, open: usize) {
        wait::until("the methods run", PATIENCE, || self.open.load(Ordering::SeqCst) == open);
    }
}

impl Fallback for Pending {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        self.wait().await;
        Ok(request.into_payload())
    }

    async fn describe(&self, _: Option<u16>) -> Result<Description, HandlerError> {
        self.described.fetch_add(1, Ordering::SeqCst);
        self.wait().await;
        Ok(Description::new(Vec::new()))
    }
}

fn serve_pending(options: ServerOptions) -> (TempDir, PathBuf, Pending, (Stopper, Serving)) {
    let (folder, path) = socket();
    let pending = Pending::default();
    let fallback = pending.clone();
    let server = RpcServer::listen_with(&path, options).unwrap();
    (folder, path, pending, serve_fallback(server, async move || fallback))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn descriptions_count_as_calls_in_flight() {
    const EACH: usize = 3;
    let (_folder, path, pending, (stopper, serving)) = serve_pending(ServerOptions::new().in_flight(8, EACH));
    runtime().block_on(async {
        let flooding = AsyncCaller::connect(&path).await.unwrap();
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let caller = flooding.clone();
            asked.spawn(async move { caller.describe(None).await.unwrap().endpoints.len() });
        }
        tokio::time::timeout(PATIENCE, async {
            while pending.open.load(Ordering::SeqCst) < EACH {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Another caller has its place beside the flood.
            let other = AsyncCaller::connect(&path).await.unwrap();
            assert_eq!(other.call(OWN, b"").await.unwrap(), b"own");
            let called = tokio::spawn(async move { other.call(1, b"x").await.unwrap() });
            while !asked.is_empty() {
                pending.answers.notify_waiters();
                if let Ok(Some(endpoints)) = tokio::time::timeout(Duration::from_millis(5), asked.join_next()).await {
                    assert_eq!(endpoints.unwrap(), 1);
                }
            }
            while !called.is_finished() {
                pending.answers.notify_waiters();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(called.await.unwrap(), b"x");
        })
        .await
        .unwrap();
    });
    assert!(pending.most.load(Ordering::SeqCst) <= EACH + 1, "{:?}", pending.most);
    stopper.stop();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_description_ends_with_its_caller_its_cancel_and_its_deadline() {
    // One place: a description that is left behind would keep it.
    let (_folder, path, pending, (stopper, serving)) = serve_pending(ServerOptions::new().in_flight(1, 1));
    // The deadline.
    let mut caller = Caller::connect(&path).unwrap();
    for asked in [Caller::describe_timeout, |caller: &mut Caller, timeout| {
        take::call(&mut caller.within(timeout), "tea", 1).map_err(CallError::into_undeclared).map(|_| unreachable!())
    }] {
        let error = asked(&mut caller, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
        pending.until_open(0);
        assert_eq!(&*caller.call_timeout(OWN, b"", PATIENCE).unwrap(), b"own");
    }
    // The cancel.
    runtime().block_on(async {
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let error = caller.within(Duration::from_millis(50)).describe(None).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
        let dropped = tokio::time::timeout(Duration::from_millis(50), caller.describe(None)).await;
        assert!(dropped.is_err());
        assert_eq!(caller.within(PATIENCE).call(OWN, b"").await.unwrap(), b"own");
        while pending.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // The caller's end.
    let asking = std::thread::spawn({
        let path = path.clone();
        move || Caller::connect(&path).unwrap().describe_timeout(PATIENCE).map(drop)
    });
    pending.until_open(1);
    pending.answers.notify_waiters();
    asking.join().unwrap().unwrap();
    runtime().block_on(async {
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let asking = tokio::spawn(async move { caller.describe(None).await.map(drop) });
        while pending.open.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        asking.abort();
        assert!(asking.await.is_err());
    });
    pending.until_open(0);
    stopper.stop();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_stop_during_a_description_says_that_the_call_was_not_begun() {
    let options = ServerOptions::new().stop_timeout(Duration::from_millis(100));
    let (_folder, path, pending, (stopper, serving)) = serve_pending(options);
    let calling = std::thread::spawn(move || {
        let mut caller = Caller::connect(&path).unwrap();
        take::call(&mut caller.within(PATIENCE), "tea", 1).map_err(CallError::into_undeclared)
    });
    pending.until_open(1);
    stopper.stop();
    let error = calling.join().unwrap().unwrap_err();
    let CallError::Remote(refused) = &error else { panic!("{error}") };
    assert_eq!((refused.kind, refused.msg_type, error.sent()), (ErrorKind::Stopping, 10, false));
    serving.join().unwrap().unwrap();
}

/// Panics in each method.
struct Panics;

#[allow(clippy::panic, reason = "the subject of the test")]
impl Fallback for Panics {
    async fn call(&self, _: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        panic!("in call")
    }

    async fn open(
        &self,
        _: FallbackRequest,
        _: Items<Vec<u8>>,
        _: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        panic!("in open")
    }

    async fn describe(&self, _: Option<u16>) -> Result<Description, HandlerError> {
        panic!("in describe")
    }

    async fn version(&self) -> Result<u64, HandlerError> {
        panic!("in version")
    }
}

#[test]
fn a_panic_of_each_method_is_an_error_reply() {
    for is_hidden in [false, true] {
        let (_folder, path) = socket();
        let (stopper, serving) = serve_table(RpcServer::listen(&path).unwrap(), async move || {
            let mut dispatcher = table(Panics);
            dispatcher.hide_error_text(is_hidden);
            dispatcher
        });
        let mut caller = Caller::connect(&path).unwrap();
        let stream = caller.open(300, b"").unwrap();
        let errors = [
            ("call", caller.call_timeout(300, b"", PATIENCE).map(drop).unwrap_err()),
            ("open", caller.next_item_timeout(stream, PATIENCE).map(drop).unwrap_err()),
            ("describe", caller.describe_timeout(PATIENCE).map(drop).unwrap_err()),
            ("version", caller.limits(PATIENCE).map(drop).unwrap_err()),
        ];
        for (method, error) in errors {
            let CallError::Remote(error) = error else { panic!("{error}") };
            assert_eq!(error.kind, ErrorKind::HandlerFailed);
            assert_eq!(error.text, if is_hidden { String::new() } else { format!("panicked: in {method}") });
        }
        // The comparison failed, so the call was not sent.
        let error = take::call(&mut caller, "tea", 1).unwrap_err();
        assert!(matches!(error, CallError::Describe(_)) && !error.sent(), "{error}");
        assert_eq!(&*caller.call_timeout(OWN, b"", PATIENCE).unwrap(), b"own");
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

/// Describes many endpoints, and counts the questions.
#[derive(Clone, Default)]
struct Many(Arc<AtomicUsize>);

impl Fallback for Many {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        Ok(request.into_payload())
    }

    async fn describe(&self, _: Option<u16>) -> Result<Description, HandlerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut endpoints: Vec<_> = (0..500).rev().map(|msg_type| described(msg_type, "of the fallback")).collect();
        endpoints.push(described(600, "of the fallback"));
        Ok(Description::new(endpoints))
    }
}

fn described(msg_type: u16, doc: &str) -> tachyon::describe::EndpointDescription {
    let mut endpoint = tachyon::describe::EndpointDescription::bytes(msg_type, &format!("endpoint_{msg_type}"));
    doc.clone_into(&mut endpoint.doc);
    endpoint
}

#[test]
fn a_long_description_is_asked_for_once_and_merged_in_order() {
    let (_folder, path) = socket();
    let many = Many::default();
    let fallback = many.clone();
    let (stopper, serving) = serve_fallback(RpcServer::listen(&path).unwrap(), async move || fallback);
    let mut caller = Caller::connect(&path).unwrap();
    let all = caller.describe_timeout(PATIENCE).unwrap();
    assert!(all.to_json().len() > 20_000, "several chunks");
    assert_eq!(many.0.load(Ordering::SeqCst), 1);
    let numbers: Vec<u16> = all.endpoints.iter().map(|endpoint| endpoint.msg_type).collect();
    assert_eq!(numbers, (0..500).chain([600]).collect::<Vec<_>>());
    assert_eq!(all.endpoint(OWN).unwrap().name, "own");
    // Of the answer to a question for one endpoint only that one travels.
    assert_eq!(caller.describe_endpoint(600, Some(PATIENCE)).unwrap().unwrap().name, "endpoint_600");
    assert_eq!(caller.describe_endpoint(601, Some(PATIENCE)).unwrap(), None);
    assert_eq!(caller.describe_endpoint(OWN, Some(PATIENCE)).unwrap().unwrap().name, "own");
    assert_eq!(many.0.load(Ordering::SeqCst), 3);
    // By default the version is that of the description.
    let version = caller.limits(PATIENCE).unwrap().version;
    assert_eq!(caller.limits(PATIENCE).unwrap().version, version);
    assert_eq!(many.0.load(Ordering::SeqCst), 5);
    // In small rings, too, a short description has several chunks.
    let small = Options::new().ring_sizes(4096, 4096);
    let mut small = Caller::connect_with(&path, &small).unwrap();
    assert_eq!(small.describe_timeout(PATIENCE).unwrap(), all);
    assert_eq!(many.0.load(Ordering::SeqCst), 6);
    stopper.stop();
    serving.join().unwrap().unwrap();
}

/// Notes the calls that it sees, and refuses those of message type 404.
#[derive(Default)]
struct Seen(Mutex<Vec<(u16, String, bool)>>);

impl tachyon::Layer for Seen {
    fn before(&self, call: &tachyon::Context<'_>) -> Result<(), HandlerError> {
        if call.msg_type == 404 { Err(HandlerError::new(ErrorKind::PermissionDenied, "not this")) } else { Ok(()) }
    }

    fn after(&self, call: &tachyon::Context<'_>, outcome: &tachyon::dispatch::Outcome, _: Duration) {
        let replied = matches!(outcome, tachyon::dispatch::Outcome::Replied(_));
        self.0.lock().unwrap().push((call.msg_type, call.name.to_owned(), replied));
    }
}

#[test]
fn layers_statistics_and_hidden_texts_cover_what_is_passed_on() {
    let (_back_folder, back) = socket();
    let (_folder, path) = socket();
    let callee = serve_back(&back);
    let seen = Arc::new(Seen::default());
    let (layer, upstream) = (Arc::clone(&seen), back.clone());
    let (stopper, serving) = serve_table(RpcServer::listen(&path).unwrap(), async move || {
        let back = AsyncCaller::connect(upstream).await.unwrap();
        let mut dispatcher = table(Proxy { back, open: Arc::default() });
        dispatcher.layer(layer);
        dispatcher.hide_error_text(true);
        dispatcher
    });
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(&*caller.call(1, b"bytes").unwrap(), b"bytes");
    let refused = caller.call(404, b"").map(drop).unwrap_err();
    assert!(matches!(&refused, CallError::Remote(error) if error.kind == ErrorKind::PermissionDenied), "{refused}");
    let missing = StockError::Missing { article: "tea".into(), missing: 2 };
    assert!(matches!(take::call(&mut caller, "tea", 7), Err(CallError::Failed(error)) if error == missing));
    let refused = caller.call(10, b"\xFF").map(drop).unwrap_err();
    let CallError::Remote(refused) = refused else { panic!("{refused}") };
    assert_eq!((refused.kind, &*refused.text), (ErrorKind::BadRequest, ""));
    assert_eq!(count::open(&mut caller, 3).unwrap().count(), 3);
    let expected = [(1, true), (10, false), (10, false), (11, true)].map(|(of, ok)| (of, String::new(), ok));
    wait::until("the layer has seen all", PATIENCE, || *seen.0.lock().unwrap() == expected);
    let snapshot = tachyon::stats::Observer::open(&path).unwrap().snapshot().unwrap();
    let without = snapshot.endpoints.iter().find(|row| row.msg_type.is_none()).unwrap();
    assert_eq!((without.calls, without.errors), (5, 3));
    for (stopper, serving) in [(stopper, serving), callee] {
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_caller_that_sends_items_and_takes_none_stops_itself_alone() {
    let setup = Setup::start();
    runtime().block_on(async {
        let caller = AsyncCaller::connect(&setup.front).await.unwrap();
        let stream = caller.open(13, b"").await.unwrap();
        let mut sent = 0u32;
        while let Ok(accepted) =
            tokio::time::timeout(Duration::from_millis(300), stream.send(&sent.to_le_bytes())).await
        {
            assert!(accepted.unwrap());
            sent += 1;
            assert!(sent < 10_000, "the items are bounded");
        }
        // Beside it, calls and streams go on, of this caller and of another one.
        let other = AsyncCaller::connect(&setup.front).await.unwrap();
        for caller in [&caller, &other] {
            assert_eq!(caller.within(PATIENCE).call(1, b"beside").await.unwrap(), b"beside");
            let counted = count::stream(&caller.within(PATIENCE), 100).await.unwrap();
            while let Some(number) = counted.recv().await {
                number.unwrap();
            }
        }
        for number in 0..sent {
            assert_eq!(stream.recv().await.unwrap().unwrap(), (number * 2).to_le_bytes());
        }
        stream.end().await.unwrap();
        assert!(stream.recv().await.is_none());
    });
}

#[test]
fn the_deadline_of_a_stream_ends_it_behind_the_proxy() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    let mut hasty = caller.within(Duration::from_millis(200));
    let mut upload = sum::open(&mut hasty).unwrap();
    wait::until("the proxy has opened it", PATIENCE, || setup.open.load(Ordering::SeqCst) == 1);
    assert!(upload.send(&1).unwrap());
    wait::until("the proxy has dropped it", PATIENCE, || setup.open.load(Ordering::SeqCst) == 0);
    assert!(matches!(upload.finish(), Err(CallError::TimedOut { .. })));
    assert_eq!(&*caller.call_timeout(1, b"next", PATIENCE).unwrap(), b"next");
}

#[test]
fn a_reply_or_an_item_that_does_not_fit_the_callers_ring_is_an_error() {
    let setup = Setup::start();
    let small = Options::new().ring_sizes(1 << 20, 4096);
    let mut caller = Caller::connect_with(&setup.front, &small).unwrap();
    let error = caller.call_timeout(1, &vec![1; 10_000], PATIENCE).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::ReplyTooLarge), "{error}");
    let stream = caller.open(FRAMES, &10_000u32.to_le_bytes()).unwrap();
    let error = caller.next_item_timeout(stream, PATIENCE).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::ReplyTooLarge), "{error}");
    assert_eq!(&*caller.call_timeout(1, b"next", PATIENCE).unwrap(), b"next");
}

#[test]
fn more_streams_than_the_connection_behind_has_are_refused() {
    let setup = Setup::start();
    let (mut first, mut second) = (setup.caller(), setup.caller());
    let open: Vec<u64> = (0..32).map(|_| first.open(12, b"").unwrap()).collect();
    assert!(matches!(first.open(12, b""), Err(CallError::TooManyStreams { max: 32 })));
    wait::until("the proxy has opened all", PATIENCE, || setup.open.load(Ordering::SeqCst) == 32);
    let stream = second.open(12, b"").unwrap();
    let error = second.next_item_timeout(stream, PATIENCE).map(drop).unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::ResourceExhausted), "{error}");
    for stream in open {
        first.end_items(stream).unwrap();
        drop(first.finish_timeout(stream, PATIENCE).unwrap());
    }
    assert_eq!(sum::open(&mut second).unwrap().finish().unwrap(), 0);
}

#[test]
fn a_callee_that_stops_is_unreachable_through_a_proxy() {
    let stopping = |kind| CallError::Remote(tachyon::RpcError::new(kind, 1, String::new(), String::new(), &[]));
    let passed_on = |error| HandlerError::passed_on(error).kind();
    // Its connection ends, and the proxy's does not: a caller that reconnects would wait for that end.
    assert_eq!(passed_on(stopping(ErrorKind::Stopping)), ErrorKind::Unreachable);
    for kind in [ErrorKind::Cancelled, ErrorKind::NoHandler, ErrorKind::Unavailable, ErrorKind::Unreachable] {
        assert_eq!(passed_on(stopping(kind)), kind);
    }
    assert_eq!(passed_on(CallError::Describe(String::new())), ErrorKind::HandlerFailed);
    assert_eq!(passed_on(CallError::TimedOut { sent: false }), ErrorKind::DeadlinePassed);
    assert_eq!(passed_on(CallError::TooLarge { size: 2, max: 1 }), ErrorKind::BadRequest);
}

#[test]
fn all_callers_of_an_absent_callee_are_told_at_once() {
    const CALLS: u32 = 50;
    let mut setup = Setup::start();
    drop(setup.caller().call_timeout(1, b"", PATIENCE).unwrap());
    setup.stop_callee();
    runtime().block_on(async {
        let front = AsyncCaller::connect(&setup.front).await.unwrap();
        let began = std::time::Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..CALLS {
            let front = front.clone();
            calls.spawn(async move { front.call(1, b"").await.unwrap_err() });
        }
        while let Some(error) = calls.join_next().await {
            let CallError::Remote(error) = error.unwrap() else { panic!("another error") };
            assert_eq!(error.kind, ErrorKind::Unreachable);
            assert!(error.text.contains("after 500ms"), "{error}");
        }
        // One after the other would take 25 seconds.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn two_proxies_in_a_row_change_nothing() {
    let setup = Setup::start();
    let (_folder, path) = socket();
    let first = serve_front(&path, &setup.front, &Arc::default());
    let mut caller = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
    assert_eq!(take::call(&mut caller, "tea", 3).unwrap(), 2);
    let missing = StockError::Missing { article: "tea".into(), missing: 2 };
    assert!(matches!(take::call(&mut caller, "tea", 7), Err(CallError::Failed(error)) if error == missing));
    assert_eq!(tenant::call(&mut caller.metadata("tenant", "acme")).unwrap(), "acme - false");
    assert_eq!(count::open(&mut caller, 100).unwrap().count(), 100);
    let mut upload = sum::open(&mut caller).unwrap();
    for number in 0..100u32 {
        assert!(upload.send(&number).unwrap());
    }
    assert_eq!(upload.finish().unwrap(), 4950);
    let mut direct = Caller::connect(&setup.back).unwrap();
    let without = other::take::call(&mut direct, "tea", 1).unwrap_err().to_string();
    assert_eq!(other::take::call(&mut caller, "tea", 1).unwrap_err().to_string(), without);
    // The endpoint of the nearest proxy hides that of the next one.
    assert_eq!(caller.describe_timeout(PATIENCE).unwrap(), setup.caller().describe_timeout(PATIENCE).unwrap());
    drop(caller);
    first.0.stop();
    first.1.join().unwrap().unwrap();
}
