//! Serves the contract in several ways, and calls it. `contract ROLE SOCKET ...`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tachyon::dispatch::Outcome;
use tachyon::{
    AsyncCaller, CallError, Callee, Caller, Context, Dispatcher, ErrorKind, HandlerError, Layer, Options, RpcServer,
    ServeError, ServerOptions, endpoints, tachyon_rpc,
};
use tachyon_tests::contract::{Ledger, Sensor, SensorsService, TABLE, async_calls, calls, one};
use tachyon_tests::evolution::{Reached, new, old};
use tachyon_tests::packed::{AccountsService, Book, JournalService, call_packed, stream_packed};
use tachyon_tests::process::{arguments, report};

/// The code that `tachyon codegen rust` generates from the service in Python.
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "as it is generated")]
#[rustfmt::skip]
#[path = "../../../tests/generated/contract_service.rs"]
mod generated;

type Ended = Result<(), Box<dyn Error>>;

fn main() -> Ended {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: contract ROLE SOCKET ...".into()) };
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
        ("call_one", []) => call_with(path, |caller| {
            calls::call_every_form(caller);
            calls::call_every_form(&mut caller.within(calls::PATIENCE));
        }),
        ("call_many", [failed, panicked]) => call_with(path, |caller| {
            calls::call_several_arguments(caller);
            calls::call_several_arguments(&mut caller.within(calls::PATIENCE));
            calls::call_every_reply(caller);
            calls::call_every_taker(caller);
            calls::finish_in_any_order(caller);
            calls::fail_as_declared(caller);
            calls::fail_in_words(caller, failed, panicked);
        }),
        ("call_tensors", []) => call_with(path, calls::call_with_tensors),
        ("call_hidden", []) => call_with(path, calls::fail_without_texts),
        ("call_small", []) => call_with(path, calls::exceed_rings),
        ("call_sensor", []) => call_with(path, calls::call_service),
        ("call_endings", []) => call_with(path, calls::call_every_outcome),
        ("call_one_async", []) => call_from_task(path, async |caller| {
            async_calls::refuse_swapped_fields(&caller).await;
            async_calls::call_every_form(&caller).await;
        }),
        ("call_many_async", [failed, panicked]) => call_from_task(path, async |caller| {
            async_calls::call_several_arguments(&caller).await;
            async_calls::call_every_reply(&caller).await;
            async_calls::call_every_taker(&caller).await;
            async_calls::fail_in_every_way(&caller, failed, panicked).await;
        }),
        ("call_small_async", []) => call_from_task(path, async |caller| async_calls::exceed_rings(&caller).await),
        ("call_sensor_async", []) => call_from_task(path, async_calls::call_service),
        ("call_generated", []) => generated_calls(path),
        ("token_server", []) => token_server(path),
        ("call_token_server", []) => call_token_server(path),
        ("packed", []) => callee(AccountsService::dispatcher(Book::default()), path, 1 << 20),
        ("call_packed", [said]) => call_with(path, |caller| call_packed(caller, said)),
        ("packed_streams", []) => callee(JournalService::dispatcher(Book::default()), path, 1 << 20),
        ("stream_packed", []) => call_with(path, stream_packed),
        ("hostile", []) => hostile(path),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

/// Makes calls to a program that serves the contract.
fn call_with(path: &Path, act: impl Fn(&mut Caller)) -> Ended {
    let mut caller = Caller::connect(path)?;
    act(&mut caller);
    Ok(())
}

/// As [`call_with`], from a task.
fn call_from_task(path: &Path, act: impl AsyncFn(AsyncCaller)) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = AsyncCaller::connect(path).await?;
        act(caller.clone()).await;
        assert_eq!(caller.outstanding(), 0);
        Ok(())
    })
}

/// Makes calls through the generated client.
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
    let image = tachyon::Tensor::new([1, 2], vec![0.5, 1.0])?;
    assert_eq!(client.transposed(&image, 2.0)?, tachyon::Tensor::new([2, 1], vec![1.0, 2.0])?);
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

fn report_or_panic(line: &str) {
    report(line).expect("the test reads the output");
}

/// All endpoints. Each failure is printed.
fn many(hide: bool) -> Dispatcher<Ledger> {
    let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
    dispatcher.hide_error_text(hide).on_failure(|error| report_or_panic(&format!("failure: {error}")));
    dispatcher
}

fn callee<S>(mut dispatcher: Dispatcher<S>, path: &Path, size: usize) -> Ended {
    std::panic::set_hook(Box::new(|_| {}));
    let options = Options::new().description(dispatcher.describe().to_json());
    let mut callee = Callee::listen_with(path, size, size, &options)?;
    Ok(dispatcher.serve_forever(&mut callee)?)
}

/// Prints each call that a layer sees.
struct CallLog;

impl Layer for CallLog {
    fn after(&self, call: &Context<'_>, outcome: &Outcome, _took: Duration) {
        report_or_panic(&format!("{} {} {} {outcome:?}", call.msg_type, call.name, call.request_size));
    }
}

/// A server with statistics and a layer.
fn seen_server(path: &Path) -> Ended {
    std::panic::set_hook(Box::new(|_| {}));
    let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
    dispatcher.layer(CallLog);
    let mut server = RpcServer::listen(path)?;
    Ok(dispatcher.serve_workers(&mut server, 1)?)
}

fn server<S: Send + Sync>(dispatcher: &Dispatcher<S>, path: &Path, workers: usize) -> Ended {
    let options = ServerOptions::new().ring_sizes(1 << 16, 1 << 16).stats(false);
    let mut server = RpcServer::listen_with(path, options)?;
    Ok(dispatcher.serve_workers(&mut server, workers)?)
}

/// Replies to every request with the payload of the last [`NEXT`] request. Has no description.
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

/// The request whose payload is the reply from now on.
const NEXT: u16 = 9999;

/// The text of a key of the request's metadata.
#[tachyon_rpc(msg_type = 1)]
fn metadata(#[context] cx: &Context<'_>, key: &str) -> Option<String> {
    cx.metadata().get(key).map(str::to_owned)
}

/// Gives the number of entries back.
#[tachyon_rpc(msg_type = 2)]
fn entries(#[context] cx: &Context<'_>, payload: &[u8]) -> Vec<u8> {
    [payload, cx.metadata().len().to_string().as_bytes()].concat()
}

/// Refuses a call without a token.
struct Token;

impl Layer for Token {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        match call.metadata().get("token") {
            Some("open") => Ok(()),
            other => Err(HandlerError::new(ErrorKind::Unauthenticated, format_args!("the token is {other:?}"))),
        }
    }
}

/// A server whose layer wants a token.
fn token_server(path: &Path) -> Ended {
    let mut dispatcher = Dispatcher::new(endpoints![metadata, entries]);
    dispatcher.layer(Token);
    let mut server = RpcServer::listen_with(path, ServerOptions::new().stats(false))?;
    Ok(dispatcher.serve_forever(&mut server)?)
}

/// Calls a server whose layer wants a token.
fn call_token_server(path: &Path) -> Ended {
    let mut caller = Caller::connect(path)?;
    for refused in [metadata::call(&mut caller, "a"), metadata::call(&mut caller.metadata("token", "shut"), "a")] {
        match refused {
            Err(CallError::Remote(error)) if error.kind == ErrorKind::Unauthenticated => {
                assert!(error.text.contains("the token is"), "{error}");
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    let mut open = caller.metadata("token", "open").metadata("a", "gr\u{fc}n");
    assert_eq!(metadata::call(&mut open, "a")?.as_deref(), Some("gr\u{fc}n"));
    assert_eq!(metadata::call(&mut open, "b")?, None);
    assert_eq!(entries::call(&mut open, b"n")?, b"n2");
    // With the largest metadata.
    let most = "x".repeat(1024 - 3 - "most".len() - 3 - "tokenopen".len());
    assert_eq!(entries::call(&mut caller.metadata("token", "open").metadata("most", &most), b"")?, b"2");
    Ok(())
}
