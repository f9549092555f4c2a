//! A callee for the typed tests, in one of several roles: `typed_peer ROLE SOCKET ...`.

use std::error::Error;
use std::path::Path;

use tachyon::__binding::rpc_callee;
use tachyon::type_id::{ROUTE_CONTROL, route_id};
use tachyon::{
    Callee, Dispatcher, ErrorKind, Options, RecvError, RpcBus, RpcServer, ServeError, ServerOptions, endpoints,
    tachyon_rpc,
};
use tachyon_tests::pricing::{
    self, PricingService, described, described_bytes, echo, flags, flags_reached, in_place, last_pixel, marked_pixel,
    no_zero, nothing, numbers_reached, order, price, prices, sides, silent, squares, sum, turned, withdrawn,
};
use tachyon_tests::process::{arguments, report};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: typed_peer ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("functions", [forward, reverse]) => functions(path, forward.parse()?, reverse.parse()?),
        ("server", []) => server(path),
        ("service", []) => {
            let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
            let mut dispatcher = PricingService::dispatcher(pricing::book());
            dispatcher.serve_forever(&mut callee)?;
            Ok(report(&dispatcher.state().orders.to_string())?)
        }
        ("frames", []) => frames(path),
        ("differs", []) => differs(path),
        ("by_hand", []) => by_hand(path),
        ("slots", []) => {
            std::panic::set_hook(Box::new(|_| {}));
            let mut callee = Callee::listen(path, 4096, 4096)?;
            let mut dispatcher =
                Dispatcher::new(endpoints![in_place, no_zero, flags, withdrawn, flags_reached, numbers_reached]);
            Ok(dispatcher.serve_forever(&mut callee)?)
        }
        ("liar", []) => liar(path),
        ("described", []) => {
            let mut server = RpcServer::listen_with(path, ServerOptions::new().ring_sizes(4096, 4096).stats(false))?;
            Ok(Dispatcher::new(endpoints![described, described_bytes]).serve_forever(&mut server)?)
        }
        ("compared", [how]) => compared(path, how),
        ("many", [count]) => many(path, count.parse()?),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

fn functions(path: &Path, forward: usize, reverse: usize) -> Outcome {
    let mut callee = Callee::listen(path, forward, reverse)?;
    let table = endpoints![echo, price, order, sum, prices, nothing, squares, silent, sides, turned];
    let mut dispatcher = Dispatcher::with_state(pricing::book(), table);
    dispatcher.serve_forever(&mut callee)?;
    Ok(report(&dispatcher.state().orders.to_string())?)
}

fn server(path: &Path) -> Outcome {
    let mut server = RpcServer::listen_with(path, ServerOptions::new().ring_sizes(4096, 4096).stats(false))?;
    let table = endpoints![echo, price, order, sum, squares];
    Ok(Dispatcher::with_state(pricing::book(), table).serve_forever(&mut server)?)
}

/// Serves values that are larger than the stacks of the threads that serve them.
fn frames(path: &Path) -> Outcome {
    let mut server = RpcServer::listen_with(path, ServerOptions::new().ring_sizes(4 << 20, 4096))?;
    let dispatcher = Dispatcher::new(endpoints![last_pixel, marked_pixel]);
    // The stack of the main thread has room for a frame, and the stack of this thread has none.
    let serving =
        std::thread::Builder::new().stack_size(1 << 20).spawn(move || dispatcher.serve_workers(&mut server, 2))?;
    Ok(serving.join().map_err(|_| "the serving thread panicked")??)
}

/// An older definition of a price request.
#[tachyon::payload]
struct PriceRequest {
    instrument: u64,
    quantity: i32,
    _pad: [u8; 4],
}

#[tachyon_rpc(msg_type = 2)]
fn old_price(request: &PriceRequest) -> u64 {
    request.instrument + u64::from(request.quantity.unsigned_abs())
}

fn differs(path: &Path) -> Outcome {
    let mut callee = Callee::listen(path, 4096, 4096)?;
    Ok(Dispatcher::new(endpoints![echo, old_price]).serve_forever(&mut callee)?)
}

/// Serves without a dispatcher: replies to endpoint 2 with three bytes, and to other requests with the request.
fn by_hand(path: &Path) -> Outcome {
    let mut callee = Callee::listen(path, 4096, 4096)?;
    loop {
        let request = match callee.serve() {
            Ok(request) => request,
            Err(ServeError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (call, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
        if request.type_id() >> 16 != 0 {
            return Err("a control request reached the user".into());
        }
        drop(request);
        match msg_type {
            2 => callee.reply(call, msg_type, &[1, 2, 3])?,
            404 => callee.reply_error(call, msg_type, ErrorKind::NoHandler, "")?,
            _ => callee.reply(call, msg_type, &payload)?,
        }
    }
}

/// Answers each `describe` with another malformed description, and other requests with an empty reply.
fn liar(path: &Path) -> Outcome {
    let bus = RpcBus::listen(path, 1 << 16, 1 << 16)?;
    let (mut requests, mut replies) = rpc_callee(&bus)?;
    let lie = |total: u32, piece: &[u8]| [&total.to_le_bytes(), piece].concat();
    let mut lies = [
        vec![1, 2, 3],
        lie(u32::MAX, b"{"),
        lie(1, b"{}"),
        lie(9, b""),
        lie(2, b"{}"),
        lie(1, &[0xFF]),
        lie(31, br#"{"schema": 99, "endpoints": []}"#),
    ]
    .into_iter();
    loop {
        // As a message: a callee would answer control requests itself.
        let taken = match requests.take(None) {
            Ok(taken) => taken,
            Err(RecvError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        requests.release(taken.position());
        let asks = taken.type_id() == tachyon::type_id::make_type_id(ROUTE_CONTROL, 1);
        let lie = if asks { lies.next().unwrap_or_default() } else { Vec::new() };
        replies.send(&lie, taken.type_id(), taken.correlation_id(), None)?;
    }
}

/// Answers calls with a price, and comparisons as `how` says. `streams` says that the endpoint is a stream. Reports the
/// number of comparisons.
fn compared(path: &Path, how: &str) -> Outcome {
    let mut description = Dispatcher::with_state(pricing::book(), endpoints![price]).describe();
    if let Some(endpoint) = description.endpoints.first_mut() {
        endpoint.streams = how == "streams";
    }
    let json = description.to_json();
    let bus = RpcBus::listen_with(path, 1 << 16, 1 << 16, &Options::new().description(json.as_str()))?;
    let (mut requests, mut replies) = rpc_callee(&bus)?;
    let description = [&u32::try_from(json.len())?.to_le_bytes(), json.as_bytes()].concat();
    let reply = [99f64.to_le_bytes(), 101f64.to_le_bytes()].concat();
    let mut comparisons = 0;
    loop {
        // As a message: a callee would answer control requests itself.
        let taken = match requests.take(None) {
            Ok(taken) => taken,
            Err(RecvError::Closed) => return Ok(report(&comparisons.to_string())?),
            Err(error) => return Err(error.into()),
        };
        requests.release(taken.position());
        let answer = match (route_id(taken.type_id()), how) {
            (0, _) => &reply,
            (ROUTE_CONTROL, "die") => std::process::abort(),
            (ROUTE_CONTROL, "answer" | "streams") => {
                comparisons += 1;
                &description
            }
            _ => continue,
        };
        replies.send(answer, taken.type_id(), taken.correlation_id(), None)?;
    }
}

fn many(path: &Path, count: u16) -> Outcome {
    let mut callee = Callee::listen(path, 64, 64)?;
    let mut dispatcher = Dispatcher::new(endpoints![]);
    for msg_type in 0..count {
        dispatcher.register(msg_type, &format!("endpoint_{msg_type}"), |payload: &[u8]| payload.to_vec())?;
    }
    Ok(dispatcher.serve_forever(&mut callee)?)
}
