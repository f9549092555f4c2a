//! The shortest RPC program: one process serves a function, and another process calls it.
//!
//! In two terminals, in any order (the caller waits up to five seconds for the callee):
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin echo -- callee /tmp/tachyon-echo.sock
//! cargo run --release -p tachyon-examples --bin echo -- caller /tmp/tachyon-echo.sock
//! ```
//!
//! Either process can also be `examples/python/echo.py`.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;

use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};

/// Returns the payload. The attribute does not change the function, and adds `echo::call`, which calls it in the peer.
#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["callee", socket] => serve(socket),
        ["caller", socket] => call(socket),
        _ => Err("usage: echo callee|caller SOCKET".into()),
    }
}

fn serve(socket: &str) -> Result<(), Box<dyn Error>> {
    println!("waiting for a caller at {socket}");
    // Two rings of 64 KiB each: one for requests, one for replies.
    let mut callee = Callee::listen(socket, 1 << 16, 1 << 16)?;
    // Returns when the caller closes the connection.
    Dispatcher::new(endpoints![echo]).serve_forever(&mut callee)?;
    println!("the caller is done");
    Ok(())
}

fn call(socket: &str) -> Result<(), Box<dyn Error>> {
    let mut caller = Caller::connect(socket)?;
    // The reply is borrowed from shared memory until `reply` goes out of scope.
    let reply = echo::call(&mut caller, b"hello tachyon")?;
    println!("the callee says: {}", String::from_utf8_lossy(&reply));
    Ok(())
}
