//! The other process of the contract's tests: one contract of every form, served in several ways, and called.

use std::error::Error;
use std::path::Path;

use tachyon::{Callee, Caller, Dispatcher, ErrorKind, RpcServer, ServeError, ServerOptions};
use tachyon_tests::contract::{Ledger, Sensor, SensorsService, TABLE, one, scene};
use tachyon_tests::evolution::{Reached, new, old};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
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
        ("hostile", []) => hostile(path),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

#[allow(clippy::print_stdout, reason = "printing is how a peer reports")]
fn report(line: &str) {
    println!("{line}");
}

/// Plays a scene as the caller of any program that serves the contract.
fn calls(path: &Path, scene: impl Fn(&mut Caller)) -> Outcome {
    let mut caller = Caller::connect(path)?;
    scene(&mut caller);
    Ok(())
}

/// Reports each failure.
fn many(hide: bool) -> Dispatcher<Ledger> {
    let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
    dispatcher.hide_error_text(hide).on_failure(|error| report(&format!("failure: {error}")));
    dispatcher
}

fn callee<S>(mut dispatcher: Dispatcher<S>, path: &Path, size: usize) -> Outcome {
    std::panic::set_hook(Box::new(|_| {}));
    let mut callee = Callee::listen(path, size, size)?;
    Ok(dispatcher.serve_forever(&mut callee)?)
}

fn server<S: Send + Sync>(dispatcher: &Dispatcher<S>, path: &Path, workers: usize) -> Outcome {
    let options = ServerOptions::new().ring_sizes(1 << 16, 1 << 16).stats(false);
    let mut server = RpcServer::bind_with(path, options)?;
    Ok(dispatcher.serve_workers(&mut server, workers)?)
}

/// Replies to a request with the bytes that the request brought for it, and does not describe itself.
fn hostile(path: &Path) -> Outcome {
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
