//! The other process of the contract's tests: one contract of every form, served in several ways, and called.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tachyon::dispatch::Outcome;
use tachyon::{
    CallError, Callee, Caller, Context, Dispatcher, ErrorKind, Layer, Options, RpcServer, ServeError, ServerOptions,
};
use tachyon_tests::contract::{Ledger, Sensor, SensorsService, TABLE, one, scene};
use tachyon_tests::evolution::{Reached, new, old};

/// The contract as `tachyon codegen rust` writes it for its service in Python.
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "as it is generated")]
#[rustfmt::skip]
#[path = "../../tests/generated/contract_service.rs"]
mod generated;

type Ended = Result<(), Box<dyn Error>>;

fn main() -> Ended {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: contract ROLE PATH ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("one", [size]) => callee(Dispatcher::new(one::ECHOES), path, size.parse()?),
        ("many", [size]) => callee(many(false), path, size.parse()?),
        ("hidden", [size]) => callee(many(true), path, size.parse()?),
        ("sensor", [size]) => callee(SensorsService::dispatcher(Sensor::default()), path, size.parse()?),
        ("one_server", [workers]) => server(&Dispatcher::new(one::ECHOES), path, workers.parse()?),
        ("many_server", [workers]) => server(&many(false), path, workers.parse()?),
        ("seen_server", []) => seen_server(path),
        ("old", [size]) => callee(Dispatcher::with_state(Reached::default(), old::TABLE), path, size.parse()?),
        ("new", [size]) => callee(Dispatcher::with_state(Reached::default(), new::TABLE), path, size.parse()?),
        ("call_one", []) => calls(path, |caller| {
            scene::call_every_form(caller);
            scene::call_every_form(&mut caller.within(scene::PATIENCE));
        }),
        ("call_many", [failed, panicked]) => calls(path, |caller| {
            scene::call_several_arguments(caller);
            scene::call_several_arguments(&mut caller.within(scene::PATIENCE));
            scene::call_every_reply(caller);
            scene::call_every_taker(caller);
            scene::finish_in_any_order(caller);
            scene::fail_as_declared(caller);
            scene::fail_in_words(caller, failed, panicked);
        }),
        ("call_hidden", []) => calls(path, scene::fail_without_texts),
        ("call_small", []) => calls(path, scene::exceed_rings),
        ("call_sensor", []) => calls(path, scene::call_service),
        ("call_endings", []) => calls(path, scene::end_in_every_way),
        ("call_generated", []) => generated_calls(path),
        ("hostile", []) => hostile(path),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

#[allow(clippy::print_stdout, reason = "printing is how a peer reports")]
fn report(line: &str) {
    println!("{line}");
}

/// Plays a scene as the caller of any program that serves the contract.
fn calls(path: &Path, scene: impl Fn(&mut Caller)) -> Ended {
    let mut caller = Caller::connect(path)?;
    scene(&mut caller);
    Ok(())
}

/// Calls through the generated client.
fn generated_calls(path: &Path) -> Ended {
    use generated::{Code, EndpointsClient, FailsError, Grade, Point, SplitError};

    let mut caller = Caller::connect(path)?;
    let mut client = EndpointsClient::new(&mut caller);
    client.nothing()?;
    let small = client.gives_small()?;
    assert_eq!((small.text.as_str(), small.maybe), ("gr\u{fc}n", Some(Grade::Poor)));
    assert_eq!(client.takes_one(&small)?, 5);
    let rows = [vec![true], vec![]];
    let several = client.takes_several(true, Grade::Good, "text", &small.marks, &rows, &small, None)?;
    assert_eq!(several, 3);
    let points = [Point { x: 0.5, y: 1.0 }];
    assert_eq!(client.boxed(&points)?, points);
    assert_eq!(client.shared_texts(&["a", ""])?, ["a", ""]);
    assert_eq!(client.takes_maybe(Some(7))?, 11);
    assert_eq!(client.constant()?, [1, 2, 3]);
    assert_eq!(client.split("a,b", Code { number: b',' })?, ["a", "b"]);
    let failed = client.split("", Code { number: b',' });
    assert!(matches!(failed, Err(CallError::Failed(SplitError::Busy))), "{failed:?}");
    match client.fails(3, "why") {
        Err(CallError::Failed(FailsError::Odd { why, origin: Some(origin), marks })) => {
            assert_eq!((why.as_str(), origin.sensor.as_str(), marks), ("why", "north", small.marks));
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

/// Reports each failure.
fn many(hide: bool) -> Dispatcher<Ledger> {
    let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
    dispatcher.hide_error_text(hide).on_failure(|error| report(&format!("failure: {error}")));
    dispatcher
}

fn callee<S>(mut dispatcher: Dispatcher<S>, path: &Path, size: usize) -> Ended {
    std::panic::set_hook(Box::new(|_| {}));
    let options = Options::new().description(dispatcher.describe().to_json());
    let mut callee = Callee::listen_with(path, size, size, &options)?;
    Ok(dispatcher.serve_forever(&mut callee)?)
}

/// Prints each request as a layer sees it.
struct Diary;

impl Layer for Diary {
    fn after(&self, call: &Context<'_>, outcome: &Outcome, _took: Duration) {
        report(&format!("{} {} {} {outcome:?}", call.msg_type, call.name, call.request_size));
    }
}

/// A server with statistics and a layer.
fn seen_server(path: &Path) -> Ended {
    std::panic::set_hook(Box::new(|_| {}));
    let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
    dispatcher.layer(Diary);
    let mut server = RpcServer::listen(path)?;
    Ok(dispatcher.serve_workers(&mut server, 1)?)
}

fn server<S: Send + Sync>(dispatcher: &Dispatcher<S>, path: &Path, workers: usize) -> Ended {
    let options = ServerOptions::new().ring_sizes(1 << 16, 1 << 16).stats(false);
    let mut server = RpcServer::listen_with(path, options)?;
    Ok(dispatcher.serve_workers(&mut server, workers)?)
}

/// Replies to a request with the bytes that the request brought for it, and does not describe itself.
fn hostile(path: &Path) -> Ended {
    let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
    let mut next = Vec::new();
    loop {
        let request = match callee.serve() {
            Ok(request) => request,
            Err(ServeError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (call, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
        drop(request);
        if msg_type == NEXT {
            next = payload;
            callee.reply(call, msg_type, &[])?;
        } else if next.is_empty() {
            callee.reply_error(call, msg_type, ErrorKind::NoHandler, "")?;
        } else {
            callee.reply(call, msg_type, &next)?;
        }
    }
}

/// The request whose payload is the next replies.
const NEXT: u16 = 9999;
