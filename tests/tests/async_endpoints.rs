//! `async` endpoints and services on a tokio runtime, called from another process.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tachyon::{
    AsyncCaller, CallError, Callee, Caller, Dispatcher, Endpoint, ErrorKind, RegisterError, RpcServer, ServeError,
    endpoints, tachyon_rpc,
};
use tachyon_tests::context::{
    Counter, Scan, ScanError, ShelfAsyncClient, ShelfClient, ShelfService, largest, later, merge, merged, nap, panics,
    parse, plain,
};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const CONTEXT_PEER: Program = Program(env!("CARGO_BIN_EXE_context_peer"));

const PATIENCE: Duration = Duration::from_secs(30);

fn connect(path: &Path) -> Caller {
    wait::for_file(path, PATIENCE);
    Caller::connect(path).unwrap()
}

fn kind(error: &CallError) -> Option<(ErrorKind, String)> {
    match error {
        CallError::Remote(error) => Some((error.kind, error.text.clone())),
        _ => None,
    }
}

#[test]
fn arguments_state_replies_and_errors_are_those_of_plain_endpoints() {
    let (_folder, path) = socket();
    let _peer = CONTEXT_PEER.start("tokio", &path, &[]);
    let mut caller = connect(&path);
    let scan = Scan { frame: "base".into(), points: vec![1.0, 2.0] };
    let more = Scan { frame: "more".into(), points: vec![3.0] };
    let reply = merge::call(&mut caller, &scan, &[1, 2][..], Some((&more).into()), Some("!")).unwrap();
    assert_eq!(reply, Scan { frame: "base!".into(), points: vec![1.0, 2.0, 3.0] });
    assert_eq!(merge::call(&mut caller, &scan, &[][..], None, None).unwrap(), scan);
    match merge::call(&mut caller, &scan, &[3, 0][..], None, None) {
        Err(CallError::Failed(error)) => assert_eq!(error, ScanError::NoSensor { sensor: 0 }),
        other => panic!("{other:?}"),
    }
    assert_eq!(merged::call(&mut caller).unwrap(), 2, "a plain endpoint of the same state");
    assert_eq!(parse::call(&mut caller, "17").unwrap(), Some(17));
    assert_eq!(parse::call(&mut caller, "").unwrap(), None);
    let failed = parse::call(&mut caller, "x").unwrap_err();
    assert_eq!(kind(&failed), Some((ErrorKind::HandlerFailed, "invalid digit found in string".into())));
    let panicked = panics::call(&mut caller).unwrap_err();
    assert_eq!(kind(&panicked), Some((ErrorKind::HandlerFailed, "panicked: on purpose".into())));
    // A request of the wrong form is refused, and nothing of the handler runs.
    let refused = caller.call(merge::MSG_TYPE, b"no scan").map(drop).unwrap_err();
    assert!(matches!(kind(&refused), Some((ErrorKind::BadRequest, text)) if text.contains("merge")), "{refused}");
    assert_eq!(merged::call(&mut caller).unwrap(), 2);
    // Calls run side by side: the first is done last.
    let slow = nap::start(&mut caller, 300).unwrap();
    let quick = nap::start(&mut caller, 1).unwrap();
    assert!(quick.finish(&mut caller).unwrap().starts_with("9 nap"));
    assert!(slow.finish(&mut caller).unwrap().starts_with("9 nap"));
    let described = caller.describe_timeout(PATIENCE).unwrap();
    assert_eq!(described.endpoint(merge::MSG_TYPE).unwrap().raises[0].head.name, "NoSensor");
}

#[test]
fn an_async_endpoint_of_the_codec_msgpack() {
    let (_folder, path) = socket();
    let _peer = CONTEXT_PEER.start("tokio", &path, &[]);
    let mut caller = connect(&path);
    let readings = BTreeMap::from([(1, ("a".to_owned(), 1.5)), (2, ("b".to_owned(), 2.5))]);
    let found = Some(("blargest".to_owned(), 2.5));
    assert_eq!(largest::call(&mut caller, &readings, &None).unwrap(), found);
    assert_eq!(largest::call(&mut caller, &readings, &Some(3.0)).unwrap(), None);
    assert_eq!(merged::call(&mut caller).unwrap(), 2);
    match largest::call(&mut caller, &BTreeMap::from([(0, (String::new(), 0.0))]), &None) {
        Err(CallError::Failed(error)) => assert_eq!(error, ScanError::NoSensor { sensor: 0 }),
        other => panic!("{other:?}"),
    }
    // A request that does not decode is refused, and nothing of the handler runs.
    let refused = caller.call(largest::MSG_TYPE, b"\x81\xA8readings\x07").map(drop).unwrap_err();
    let about = "argument `readings` of largest";
    assert!(matches!(kind(&refused), Some((ErrorKind::BadRequest, text)) if text.contains(about)), "{refused}");
    assert_eq!(merged::call(&mut caller).unwrap(), 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let caller = AsyncCaller::connect(&path).await.unwrap();
        assert_eq!(largest::call_async(&caller, &readings, &None).await.unwrap(), found);
        let shelf = AsyncCaller::connect(&path.with_extension("shelf")).await.unwrap();
        let texts = ["", "ab"].map(str::to_owned).into();
        let lengths = ShelfAsyncClient::new(shelf).within(PATIENCE).lengths(&texts).await.unwrap();
        assert_eq!(lengths, BTreeMap::from([(String::new(), 0), ("ab".to_owned(), 2)]));
    });
}

/// The endpoint `merge` with two fields in another order.
mod swapped {
    use super::{Scan, ScanError, tachyon_rpc};

    #[tachyon_rpc(msg_type = 14)]
    #[allow(clippy::unnecessary_wraps, reason = "the error is part of the contract")]
    pub(super) fn merge(
        sensors: Vec<u32>,
        scan: Scan,
        more: Option<Scan>,
        note: Option<String>,
    ) -> Result<Scan, ScanError> {
        drop((sensors, more, note));
        Ok(scan)
    }
}

#[test]
fn the_first_call_compares_an_async_endpoint_as_any_other() {
    let (_folder, path) = socket();
    let _peer = CONTEXT_PEER.start("tokio", &path, &[]);
    let mut caller = connect(&path);
    let scan = Scan { frame: String::new(), points: vec![] };
    let refused = swapped::merge::call(&mut caller, &[1][..], &scan, None, None).unwrap_err();
    assert!(matches!(refused, CallError::Mismatch(_)), "{refused}");
    assert!(merge::call(&mut caller, &scan, &[1][..], None, None).is_ok());
}

#[test]
fn a_service_has_plain_and_async_methods() {
    for role in ["tokio", "one_place"] {
        let (_folder, path) = socket();
        let _peer = CONTEXT_PEER.start(role, &path, &[]);
        let mut caller = connect(&path.with_extension("shelf"));
        let mut shelf = ShelfClient::new(&mut caller).within(PATIENCE);
        assert!(shelf.at_once(b"12").unwrap().starts_with("20 at_once "));
        assert!(shelf.in_time(&[1, 2, 3][..]).unwrap().starts_with("21 in_time "));
        assert_eq!(shelf.twice(21).unwrap(), 42);
        assert!(matches!(shelf.twice(1 << 40), Err(CallError::Failed(ScanError::NoSensor { sensor: 0 }))));
        assert_eq!(shelf.calls().unwrap(), 2);
    }
}

#[test]
fn async_endpoints_need_a_runtime_and_say_so_before_any_request() {
    let (_folder, path) = socket();
    let mut dispatchers = [Dispatcher::new(endpoints![plain, later]), Dispatcher::new(endpoints![later])];
    for dispatcher in &mut dispatchers {
        let mut server = RpcServer::listen(&path).unwrap();
        for outcome in [dispatcher.serve_forever(&mut server), dispatcher.serve_workers(&mut server, 2)] {
            assert!(matches!(outcome, Err(ServeError::NeedsRuntime { msg_type: 5, ref name }) if name == "later"));
        }
    }
    let listen_at = path.clone();
    let callee = std::thread::spawn(move || {
        let mut callee = Callee::listen(&listen_at, 4096, 4096).unwrap();
        let mut dispatcher = ShelfService::dispatcher(Counter::default());
        let once = dispatcher.serve_once(&mut callee);
        assert!(matches!(once, Err(ServeError::NeedsRuntime { msg_type: 21, .. })), "{once:?}");
        let timed = dispatcher.serve_once_timeout(&mut callee, Duration::ZERO);
        assert!(matches!(timed, Err(ServeError::NeedsRuntime { .. })), "{timed:?}");
    });
    let caller = connect(&path);
    callee.join().unwrap();
    drop(caller);
}

#[tachyon_rpc(msg_type = 40)]
fn add(#[state] sum: &mut AtomicU64, number: u64) -> u64 {
    *sum.get_mut() += number;
    *sum.get_mut()
}

#[tachyon_rpc(msg_type = 41)]
fn read(#[state] sum: &AtomicU64) -> u64 {
    sum.load(Ordering::Relaxed)
}

#[test]
fn a_shared_state_is_never_changed_by_an_endpoint() {
    let mut shared = Dispatcher::with_shared(Arc::new(AtomicU64::new(1)), endpoints![read]);
    let refused = shared.register_endpoint::<add>().map(drop).unwrap_err();
    assert_eq!(refused, RegisterError::Shared { refused: "add".into() });
    assert!(refused.to_string().starts_with("`add` changes the state, which other owners share"), "{refused}");
    assert_eq!(shared.len(), 1);
    let made = std::panic::catch_unwind(|| Dispatcher::with_shared(Arc::new(AtomicU64::new(1)), endpoints![add]).len());
    assert!(made.is_err());
    // A state becomes shared when the first async endpoint takes it.
    let mut own = Dispatcher::with_state(AtomicU64::new(1), endpoints![read]);
    assert!(own.state_mut().is_some());
    own.register_endpoint::<merge>().unwrap();
    assert!(own.state_mut().is_none());
    assert!(own.register_endpoint::<add>().is_err());
    assert_eq!(own.into_state().map(AtomicU64::into_inner), Some(1));
}

#[test]
fn two_dispatchers_share_one_state() {
    let sum = Arc::new(AtomicU64::new(7));
    let serving = [(); 2].map(|()| {
        let (folder, path) = socket();
        let (listen_at, sum) = (path.clone(), Arc::clone(&sum));
        let thread = std::thread::spawn(move || {
            let mut callee = Callee::listen(&listen_at, 4096, 4096).unwrap();
            Dispatcher::with_shared(sum, endpoints![read]).serve_forever(&mut callee).unwrap();
        });
        (folder, path, thread)
    });
    let mut callers = [0, 1].map(|at| connect(&serving[at].1));
    for (number, caller) in callers.iter_mut().enumerate() {
        assert_eq!(read::call(caller).unwrap(), 7 + number as u64);
        sum.fetch_add(1, Ordering::Relaxed);
    }
    drop(callers);
    for (_, _, thread) in serving {
        thread.join().unwrap();
    }
    assert_eq!(Arc::into_inner(sum).map(AtomicU64::into_inner), Some(9));
}

/// A state that is `Send` and not `Sync`.
#[tachyon_rpc(msg_type = 42)]
fn count(#[state] calls: &std::cell::Cell<u64>) -> u64 {
    calls.set(calls.get() + 1);
    calls.get()
}

#[test]
fn a_state_of_its_own_moves_to_the_serving_thread_with_its_dispatcher() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let dispatcher = Dispatcher::with_state(std::cell::Cell::new(1), &[count::ENTRY]);
    let serving = std::thread::spawn(move || {
        let mut dispatcher = dispatcher;
        dispatcher.serve_forever(&mut Callee::listen(&listen_at, 4096, 4096).unwrap()).unwrap();
        dispatcher.into_state().unwrap().get()
    });
    let mut caller = connect(&path);
    assert_eq!(count::call(&mut caller).unwrap(), 2);
    drop(caller);
    assert_eq!(serving.join().unwrap(), 2);
}
