//! A server survives panics of handlers, hooks and layers. A serving thread that panics or cannot start ends the
//! serving.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::fmt::{self, Display};
use std::panic::panic_any;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tachyon::dispatch::Outcome;
use tachyon::{
    CallError, Caller, Context, Dispatcher, ErrorKind, HandlerError, Layer, Options, RpcServer, ServeError,
    ServerOptions,
};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::server::serve;
use tachyon_tests::temporary::socket;

const PATIENCE: Duration = Duration::from_secs(20);

/// Panics in its destructor, with a payload that again panics in its destructor, this many times.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

impl Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bomb")
    }
}

fn dispatcher() -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher.register(2, "throws", |_: &[u8]| -> Vec<u8> { panic_any(Bomb(2)) }).unwrap();
    dispatcher.register(3, "gives", |_: &[u8]| Err::<(), _>(Bomb(1))).unwrap();
    dispatcher.register(4, "fails", |_: &[u8]| Err::<(), _>("no")).unwrap();
    dispatcher
}

fn ask(caller: &mut Caller, msg_type: u16) -> Result<Vec<u8>, CallError> {
    let reply = caller.call_timeout(msg_type, b"x", PATIENCE)?;
    Ok(reply.to_vec())
}

fn assert_failed(caller: &mut Caller, msg_type: u16) {
    match ask(caller, msg_type) {
        Err(CallError::Remote(error)) => assert_eq!((error.kind, error.msg_type), (ErrorKind::HandlerFailed, msg_type)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn panicking_destructors_end_no_server() {
    for workers in [0, 1, 2] {
        let (_folder, path) = socket();
        let mut dispatcher = dispatcher();
        if workers == 0 {
            dispatcher.register_async(5, "throws_later", async |_: Vec<u8>| -> () { panic_any(Bomb(2)) }).unwrap();
            dispatcher.register_async(6, "gives_later", async |_: Vec<u8>| Err::<(), _>(Bomb(1))).unwrap();
            dispatcher
                .register_async(7, "holds", |_: Vec<u8>| {
                    let held = Bomb(1);
                    async move {
                        tokio::time::sleep(Duration::from_hours(1)).await;
                        drop(held);
                    }
                })
                .unwrap();
        }
        let (stopper, serving) = serve(RpcServer::listen(&path).unwrap(), dispatcher, workers);
        let (mut bad, mut innocent) = (Caller::connect(&path).unwrap(), Caller::connect(&path).unwrap());
        for msg_type in if workers == 0 { 2..7 } else { 2..5 } {
            assert_failed(&mut bad, msg_type);
            assert_eq!(ask(&mut innocent, 1).unwrap(), b"x");
        }
        if workers == 0 {
            // The caller leaves while a handler runs whose destructor panics.
            bad.start(7, b"").unwrap();
            bad.ping(PATIENCE).unwrap();
            drop(bad);
            assert_eq!(ask(&mut innocent, 1).unwrap(), b"x");
        }
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

struct Explosive;

impl Layer for Explosive {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        if call.request_size > 1 {
            panic_any(Bomb(2));
        }
        Ok(())
    }

    fn after(&self, _: &Context<'_>, _: &Outcome, _: Duration) {
        panic_any(Bomb(1));
    }
}

#[test]
fn panicking_hooks_and_layers_end_no_server() {
    for workers in [0, 1, 2] {
        let (_folder, path) = socket();
        let mut dispatcher = dispatcher();
        dispatcher.on_failure(|_| panic!("as a write to a closed pipe does")).layer(Explosive);
        let mut server = RpcServer::listen(&path).unwrap();
        server.on_event(|_| panic_any(Bomb(1)));
        let (stopper, serving) = serve(server, dispatcher, workers);
        let mut first = Caller::connect(&path).unwrap();
        assert_eq!(ask(&mut first, 1).unwrap(), b"x");
        for _ in 0..4 {
            // The layer panics before the call of this request.
            assert!(first.call_timeout(1, b"xx", PATIENCE).is_err());
            let mut bad = Caller::connect(&path).unwrap();
            assert_failed(&mut bad, 4);
            assert_eq!(ask(&mut first, 1).unwrap(), b"x");
        }
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

static BROKEN: AtomicBool = AtomicBool::new(false);

#[test]
fn a_panic_outside_of_calls_ends_the_serving_and_closes_every_caller() {
    for workers in [0, 1, 3] {
        BROKEN.store(false, Ordering::Relaxed);
        let (_folder, path) = socket();
        // The interrupt hook runs outside of calls, so its panic ends the serving thread.
        let options = Options::new().interrupt(|| {
            assert!(!BROKEN.load(Ordering::Relaxed), "the hook is broken");
            false
        });
        let server = RpcServer::listen_with(&path, ServerOptions::new().connection(options)).unwrap();
        let (_stopper, serving) = serve(server, dispatcher(), workers);
        let mut callers: Vec<_> = (0..6).map(|_| Caller::connect(&path).unwrap()).collect();
        for caller in &mut callers {
            assert_eq!(ask(caller, 1).unwrap(), b"x");
        }
        BROKEN.store(true, Ordering::Relaxed);
        let outcome = serving.join().unwrap();
        assert!(matches!(outcome, Err(ServeError::WorkerLost(_))), "{outcome:?}");
        for mut caller in callers {
            assert!(matches!(ask(&mut caller, 1), Err(CallError::Closed { .. })));
        }
        assert!(!path.exists());
    }
}

#[test]
fn a_thread_that_cannot_be_started_ends_the_serving() {
    let (_folder, path) = socket();
    let mut callee = Program(env!("CARGO_BIN_EXE_peer")).command();
    // No address space has room for such a stack, so the system refuses the first thread.
    callee.args(["refused_workers", path.to_str().unwrap()]).env("RUST_MIN_STACK", (1u64 << 46).to_string());
    let peer = Peer::spawn(&mut callee);
    let outcome = connect(&path).map(|mut caller| caller.call_timeout(1, b"", PATIENCE).map(|reply| reply.to_vec()));
    assert!(!matches!(outcome, Some(Ok(_) | Err(CallError::TimedOut { .. }))), "{outcome:?}");
    assert_eq!(peer.finish().trim(), "refused");
    assert!(!path.exists());
}

/// A caller, if the handshake finishes before the server ends.
fn connect(path: &Path) -> Option<Caller> {
    Caller::connect_with(path, &Options::new().timeout(Duration::from_secs(2))).ok()
}
