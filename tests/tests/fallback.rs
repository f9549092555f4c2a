//! Fallbacks: they answer what no endpoint of the table takes, and pass it on to another callee.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::client::tokio::RawMessage;
use tachyon::describe::Description;
use tachyon::dispatch::{Fallback, FallbackRequest};
use tachyon::{
    AsyncCaller, CallError, Caller, Dispatcher, ErrorKind, HandlerError, ItemError, Items, Options, RpcServer,
    ServeError, ServerOptions, Stopper, StreamSender, endpoints, tachyon_rpc,
};
use tachyon_tests::server::{self, Serving};
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
        mut items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(Arc::clone(&self.open));
        let back = self.back.on_behalf_of(&request.context());
        let stream = back.open(request.msg_type(), request.payload()).await.map_err(HandlerError::passed_on)?;
        let upload = async {
            while let Some(item) = items.recv().await {
                if !matches!(stream.send(&item?).await, Ok(true)) {
                    return Ok(());
                }
            }
            drop(stream.end().await);
            Ok::<(), HandlerError>(())
        };
        let download = async {
            loop {
                match stream.next_message().await.map_err(HandlerError::passed_on)? {
                    RawMessage::Item(item) => sender.send(&item).await?,
                    RawMessage::Reply(reply) => return Ok(Some(reply)),
                    _ => return Ok(None),
                }
            }
        };
        tokio::pin!(upload, download);
        tokio::select! {
            sent = &mut upload => sent?,
            last = &mut download => return last,
        }
        download.await
    }

    async fn describe(&self, endpoint: Option<u16>) -> Result<Description, HandlerError> {
        self.back.describe(endpoint).await.map_err(HandlerError::passed_on)
    }

    fn version(&self) -> u64 {
        77
    }
}

/// No stock of an article.
#[tachyon::error]
#[derive(Debug, PartialEq)]
enum StockError {
    #[error("{missing} of {article} are missing", kind = ResourceExhausted)]
    Missing { article: String, missing: u32 },
}

/// Takes articles out of the stock.
#[tachyon_rpc(msg_type = 10)]
fn take(article: &str, count: u32) -> Result<u32, StockError> {
    match count.checked_sub(5) {
        None => Ok(5 - count),
        Some(0) => Ok(0),
        Some(missing) => Err(StockError::Missing { article: article.to_owned(), missing }),
    }
}

/// Counts.
#[tachyon_rpc(msg_type = 11)]
fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

/// Adds numbers.
#[tachyon_rpc(msg_type = 12)]
fn sum(numbers: Items<u32>) -> Result<u64, ItemError> {
    let mut sum = 0;
    for number in numbers {
        sum += u64::from(number?);
    }
    Ok(sum)
}

/// Doubles numbers.
#[tachyon_rpc(msg_type = 13)]
fn double(numbers: Items<u32>, out: StreamSender<u32>) -> Result<(), ItemError> {
    for number in numbers {
        out.blocking_send(number? * 2)?;
    }
    Ok(())
}

/// Returns an entry of the metadata.
#[tachyon_rpc(msg_type = 14)]
fn tenant(#[context] cx: &tachyon::Context<'_>) -> String {
    format!("{:?} {}", cx.metadata().get("tenant"), cx.remaining().is_some())
}

/// Takes its time.
#[tachyon_rpc(msg_type = 15)]
fn sleep(millis: u32) {
    std::thread::sleep(Duration::from_millis(millis.into()));
}

/// The other declarations of some endpoints above.
mod other {
    use super::{StockError, tachyon_rpc};

    /// Has another argument.
    #[tachyon_rpc(msg_type = 10)]
    pub(super) fn take(article: &str, count: u64) -> Result<u32, StockError> {
        let missing = u32::try_from(count).unwrap_or(u32::MAX);
        if missing == 0 { Ok(0) } else { Err(StockError::Missing { article: article.to_owned(), missing }) }
    }
}

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
    let mut dispatcher = Dispatcher::new(endpoints![take, count, sum, double, tenant, sleep]);
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
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
        let back = AsyncCaller::connect_with(back, &Options::new().reconnect(true)).await.unwrap();
        Proxy { back, open }
    })
}

fn serve_fallback<F: Fallback>(
    mut server: RpcServer,
    fallback: impl AsyncFnOnce() -> F + Send + 'static,
) -> (Stopper, Serving) {
    let stopper = server.stopper();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut dispatcher = Dispatcher::default();
            dispatcher.register(2, "own", |_: &[u8]| "own").unwrap();
            dispatcher.fallback(fallback().await);
            dispatcher.serve_async(&mut server).await
        })
    });
    (stopper, serving)
}

#[test]
fn calls_errors_and_metadata_pass_through() {
    let setup = Setup::start();
    let mut caller = setup.caller();
    assert_eq!(&*caller.call(1, b"bytes").unwrap(), b"bytes");
    assert_eq!(&*caller.call(2, b"").unwrap(), b"own");
    assert_eq!(take::call(&mut caller, "tea", 3).unwrap(), 2);
    let missing = StockError::Missing { article: "tea".into(), missing: 2 };
    assert!(matches!(take::call(&mut caller, "tea", 7), Err(CallError::Failed(error)) if error == missing));
    assert_eq!(tenant::call(&mut caller).unwrap(), "None false");
    let calls = caller.within(PATIENCE);
    assert_eq!(tenant::call(&mut calls.metadata("tenant", "acme")).unwrap(), "Some(\"acme\") true");
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
    assert!(all.endpoint(2).is_some());
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
    let setup = Setup::start();
    let mut direct = Caller::connect(&setup.back).unwrap();
    let of_callee = direct.limits(PATIENCE).unwrap();
    assert_eq!(of_callee.max_request, direct.max_len() as u64);
    assert!(of_callee.max_reply > 0);
    assert_eq!(Caller::connect(&setup.back).unwrap().limits(PATIENCE).unwrap(), of_callee);
    assert_ne!(setup.caller().limits(PATIENCE).unwrap().version, of_callee.version);
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
    let error = sleep::call(&mut caller.within(Duration::from_millis(20)), 1000).unwrap_err();
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
