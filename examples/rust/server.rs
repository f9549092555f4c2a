//! One server and many callers, each in a separate process.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin server -- serve /tmp/tachyon-server.sock
//! ```
//!
//! Then, in any number of terminals, also while other callers connect, close or are killed:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin server -- call /tmp/tachyon-server.sock 10000
//! ```
//!
//! At the end, Ctrl-C or a SIGTERM in the first terminal, or a caller:
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin server -- stop /tmp/tachyon-server.sock
//! ```
//!
//! Each process can also be the Python program `examples/python/server.py`.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::Duration;

use tachyon::{Caller, Dispatcher, RpcServer, ServerOptions, endpoints, tachyon_rpc};

mod signals;

/// The timeout of a call.
const LIMIT: Duration = Duration::from_secs(10);

/// The numbers of the endpoints without `#[tachyon_rpc]`.
const INTRODUCE: u16 = 2;
const STOP: u16 = 3;

/// Returns the bytes in reverse order.
#[tachyon_rpc(msg_type = 1)]
fn reverse(payload: &[u8]) -> Vec<u8> {
    payload.iter().rev().copied().collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", socket] => serve(socket, 1),
        ["serve", socket, workers] => serve(socket, workers.parse()?),
        ["call", socket, count] => call(socket, count.parse()?),
        ["stop", socket] => {
            Caller::connect(socket)?.call_timeout(STOP, b"", LIMIT)?;
            Ok(())
        }
        _ => Err("usage: server serve SOCKET [WORKERS] | call SOCKET COUNT | stop SOCKET".into()),
    }
}

/// Serves callers until one of them calls `stop`, or a signal comes.
fn serve(socket: &str, workers: usize) -> Result<(), Box<dyn Error>> {
    let mut server = RpcServer::listen_with(socket, ServerOptions::new().max_callers(256))?;
    let stopper = server.stopper();
    signals::stop_on_signals(server.stopper())?;
    let mut dispatcher = Dispatcher::new(endpoints![reverse]);
    // A handler of this form knows the caller, and writes the reply itself.
    dispatcher.register_handler(
        INTRODUCE,
        "introduce",
        Box::new(|(), request, reply| {
            let caller = request.caller();
            let pid = caller.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            reply.bytes(format!("caller {}, process {pid}", caller.id).as_bytes())
        }),
    )?;
    dispatcher.register(STOP, "stop", move |_| stopper.stop())?;
    println!("serving at {socket}");
    dispatcher.serve_workers(&mut server, workers)?;
    println!("stopped");
    Ok(())
}

/// Makes calls of many sizes, and checks every reply.
fn call(socket: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut caller = Caller::connect(socket)?;
    let introduced = caller.call_timeout(INTRODUCE, b"", LIMIT)?.to_vec();
    println!("{}", String::from_utf8(introduced)?);
    for number in 0..count {
        let text = format!("call {number} of process {}, ", std::process::id()).repeat(number % 50);
        let reply = reverse::call(&mut caller.within(LIMIT), text.as_bytes())?;
        if reply != reverse(text.as_bytes()) {
            return Err(format!("the reply to call {number} is wrong").into());
        }
    }
    println!("{count} calls, all correct");
    Ok(())
}
