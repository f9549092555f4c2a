//! The shortest RPC program: one function, served by one process and called by another.
//!
//! In two terminals, in any order (a caller waits five seconds for its callee):
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin echo -- callee /tmp/tachyon-echo.sock
//! cargo run --release -p tachyon-examples --bin echo -- caller /tmp/tachyon-echo.sock
//! ```
//!
//! Either of them may as well be `examples/python/echo.py`.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;

use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};

/// Gives the bytes back. It stays a plain function; the attribute adds `echo::call`, which runs it in the peer.
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
    // Two rings of 64 KiB each: one for the requests, one for the replies.
    let mut callee = Callee::listen(socket, 1 << 16, 1 << 16)?;
    // Returns when the caller closes.
    Dispatcher::new(endpoints![echo]).serve_forever(&mut callee)?;
    println!("the caller is done");
    Ok(())
}

fn call(socket: &str) -> Result<(), Box<dyn Error>> {
    let mut caller = Caller::connect(socket)?;
    // The reply is borrowed from shared memory until it goes out of scope.
    let reply = echo::call(&mut caller, b"hello tachyon")?;
    println!("the callee says: {}", String::from_utf8_lossy(&reply));
    Ok(())
}
