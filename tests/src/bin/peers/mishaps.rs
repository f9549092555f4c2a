//! A callee whose handlers fail in every way, and a caller that prints each outcome.
//!
//! `mishaps callee|server|watched|workers|tokio SOCKET` serves; `watched` has a thread that reads the number of callers
//! all the time. A forked child writes its errors to `SOCKET.child`. `mishaps
//! caller|pool|async SOCKET CALL...` makes each CALL, `msg_type` or `msg_type:payload`, and prints the outcome and
//! whether the next good call is answered. `mishaps pipeline|timeouts SOCKET COUNT` makes COUNT calls.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachyon::{
    AsyncCaller, CallError, Callee, Caller, Dispatcher, Options, Pool, PoolOptions, RpcServer, ServeError, endpoints,
    tachyon_rpc,
};
use tachyon_tests::fork;
use tachyon_tests::message::message;
use tachyon_tests::mishaps::{ECHO, EXITS, FAILS, FORKS, HUGE, PANICS, RING, SLEEPS, name};
use tachyon_tests::process::{arguments, report};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: mishaps ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("callee", []) => callee(path),
        ("server" | "watched" | "workers" | "tokio", []) => server(path, role),
        ("caller", calls) => print_outcomes(calls, &mut Caller::connect(path)?),
        ("pool", calls) => print_outcomes(calls, &mut Pool::new(path, &Options::new(), &PoolOptions::new().max(1))),
        ("async", calls) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let caller = runtime.block_on(AsyncCaller::connect(path))?;
            print_outcomes(calls, &mut Awaiting { runtime, caller })
        }
        ("pipeline", [count]) => pipeline(path, count.parse()?),
        ("timeouts", [count]) => timeouts(path, count.parse()?),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "requests are borrowed where they lie")]
#[tachyon_rpc(msg_type = 7)]
fn typed(request: &u64) -> u64 {
    *request
}

fn dispatcher() -> Outcome<Dispatcher> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut dispatcher = Dispatcher::new(endpoints![typed]);
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec)?;
    dispatcher.register(FAILS, "fails", |_: &[u8]| Err::<(), _>("on purpose"))?;
    dispatcher.register(PANICS, "panics", |_: &[u8]| -> () { panic!("on purpose") })?;
    dispatcher.register(HUGE, "huge", |_: &[u8]| vec![0_u8; 1 << 20])?;
    dispatcher.register(EXITS, "exits", |_: &[u8]| -> () { fork::exit(0) })?;
    dispatcher.register(SLEEPS, "sleeps", |request: &[u8]| {
        std::thread::sleep(Duration::from_millis(u64::from_le_bytes(request.try_into()?)));
        Ok::<_, std::array::TryFromSliceError>(request.to_vec())
    })?;
    dispatcher.register(FORKS, "forks", |request: &[u8]| match fork::fork() {
        None if request == b"exits" => fork::exit(0),
        None => "child".to_owned(),
        Some(child) => {
            if request == b"exits" {
                fork::reap(child);
            }
            "parent".to_owned()
        }
    })?;
    Ok(dispatcher)
}

/// Ends a forked child that has returned from its handler, and writes the errors of its serving to a file.
fn end_child(path: &Path, parent: u32, mut again: impl FnMut() -> Result<(), ServeError>, first: &ServeError) {
    if std::process::id() != parent {
        let second = again().err();
        let note = format!("{first:?} {second:?}");
        let written = std::fs::write(child_note(path), note);
        fork::exit(i32::from(written.is_err()));
    }
}

fn child_note(path: &Path) -> PathBuf {
    path.with_extension("child")
}

fn callee(path: &Path) -> Outcome {
    let parent = std::process::id();
    let mut callee = Callee::listen(path, RING, RING)?;
    let mut dispatcher = dispatcher()?;
    if let Err(end) = dispatcher.serve_forever(&mut callee) {
        end_child(path, parent, || dispatcher.serve_once(&mut callee), &end);
        return Err(end.into());
    }
    Ok(())
}

fn server(path: &Path, form: &str) -> Outcome {
    let parent = std::process::id();
    let options = tachyon::ServerOptions::new().ring_sizes(RING, RING);
    let mut server = RpcServer::listen_with(path, options)?;
    let mut dispatcher = dispatcher()?;
    let stopper = server.stopper();
    if form == "watched" {
        let watched = server.stopper();
        std::thread::spawn(move || {
            loop {
                watched.callers();
            }
        });
    }
    dispatcher.register(9, "stop", move |_: &[u8]| stopper.stop())?;
    let outcome = match form {
        "workers" => dispatcher.serve_workers(&mut server, 3),
        "tokio" => {
            // Two threads, so that handlers also run on another thread than this one.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            dispatcher.register_async(10, "fails_later", async |_: Vec<u8>| {
                tokio::task::yield_now().await;
                Err::<(), _>("on purpose")
            })?;
            dispatcher.register_async(11, "panics_later", async |_: Vec<u8>| -> () {
                tokio::task::yield_now().await;
                panic!("on purpose")
            })?;
            dispatcher.register_async(12, "huge_later", async |_: Vec<u8>| vec![0_u8; 1 << 20])?;
            runtime.block_on(dispatcher.serve_async(&mut server))
        }
        _ => dispatcher.serve_forever(&mut server),
    };
    if let Err(end) = outcome {
        end_child(path, parent, || dispatcher.serve_forever(&mut server), &end);
        return Err(end.into());
    }
    Ok(())
}

/// A kind of caller.
trait Calls {
    fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError>;
}

impl Calls for Caller {
    fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call(msg_type, payload).map(|reply| reply.to_vec())
    }
}

impl Calls for Pool {
    fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        Pool::call(self, msg_type, payload)
    }
}

struct Awaiting {
    runtime: tokio::runtime::Runtime,
    caller: AsyncCaller,
}

impl Calls for Awaiting {
    fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.runtime.block_on(self.caller.call(msg_type, payload))
    }
}

fn word(error: &CallError) -> String {
    match error {
        CallError::Remote(error) => format!("{:?}", error.kind),
        other => name(&format!("{other:?}")),
    }
}

fn print_outcomes(calls: &[&str], caller: &mut impl Calls) -> Outcome {
    for call in calls {
        let (msg_type, payload) = call.split_once(':').unwrap_or((call, "abc"));
        let outcome = match caller.call(msg_type.parse()?, payload.as_bytes()) {
            Ok(reply) => String::from_utf8_lossy(&reply).into_owned(),
            Err(error) => word(&error),
        };
        let next = match caller.call(ECHO, b"good") {
            Ok(reply) if reply == b"good" => "usable".to_owned(),
            Ok(reply) => format!("wrong: {reply:?}"),
            Err(error) => word(&error),
        };
        report(&format!("{outcome} {next}"))?;
    }
    Ok(())
}

/// Makes all calls before it waits for the first reply.
fn pipeline(path: &Path, count: u64) -> Outcome {
    let mut caller = Caller::connect(path)?;
    let calls =
        (0..count).map(|number| caller.start(ECHO, &message(number, 50))).collect::<Result<Vec<_>, CallError>>()?;
    for (number, call) in (0..).zip(calls) {
        if *caller.finish(call)? != *message(number, 50) {
            return Err(format!("call {number} came back wrong").into());
        }
    }
    Ok(report(&format!("{count} answered, {} outstanding", caller.outstanding()))?)
}

/// Makes calls that time out, alternately with a deadline for the callee and without, then as many good calls.
fn timeouts(path: &Path, count: u64) -> Outcome {
    let mut caller = Caller::connect(path)?;
    let limit = Duration::from_micros(100);
    let mut timed_out = 0;
    while timed_out < count {
        let outcome = if timed_out % 2 == 0 {
            caller.call_timeout(SLEEPS, &1_u64.to_le_bytes(), limit).map(drop)
        } else {
            let call = caller.start(SLEEPS, &1_u64.to_le_bytes())?;
            caller.finish_timeout(call, limit).map(drop)
        };
        match outcome {
            Err(CallError::TimedOut { .. }) => timed_out += 1,
            // The caller lost the processor for longer than the handler sleeps.
            Ok(()) => {}
            other => return Err(format!("call {timed_out}: {other:?}").into()),
        }
    }
    let started = Instant::now();
    for number in 0..count {
        if *caller.call(ECHO, &message(number, 50))? != *message(number, 50) {
            return Err(format!("call {number} came back wrong after {:?}", started.elapsed()).into());
        }
    }
    Ok(report(&format!("{timed_out} timed out, {count} answered, {} outstanding", caller.outstanding()))?)
}
