//! A thousand calls in flight from tokio tasks, over one connection.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin tokio_caller
//! ```
//!
//! Here the server is a thread, so that the example is one program. Usually it is another process. With the socket of a
//! `tokio_server` as argument, the program calls that server, and stops it at the end.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::{Duration, Instant};

use tachyon::{AsyncCaller, CallError, Dispatcher, Options, RpcServer, endpoints, tachyon_rpc};
use tokio::task::JoinSet;

/// The endpoint that stops a server in another process.
const STOP: u16 = 3;

/// Returns the square of a number.
#[tachyon_rpc(msg_type = 1)]
fn square(number: u64) -> u64 {
    number * number
}

/// Takes a long time.
#[tachyon_rpc(msg_type = 2)]
fn ponder(_question: &[u8]) {
    std::thread::sleep(Duration::from_millis(200));
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(socket) = std::env::args_os().nth(1) {
        let caller = AsyncCaller::connect(&socket).await?;
        call(&caller).await?;
        caller.call(STOP, b"").await?;
        return Ok(());
    }
    let socket = std::env::temp_dir().join(format!("tachyon-tokio-{}.sock", std::process::id()));
    let mut server = RpcServer::listen(&socket)?;
    let stopper = server.stopper();
    let service = std::thread::spawn(move || Dispatcher::new(endpoints![square, ponder]).serve_forever(&mut server));
    // If the server restarts, the next call connects to the new one.
    let caller = AsyncCaller::connect_with(&socket, &Options::new().reconnect(true)).await?;
    call(&caller).await?;

    stopper.stop();
    tokio::task::spawn_blocking(move || service.join().expect("the server does not panic")).await??;
    Ok(())
}

async fn call(caller: &AsyncCaller) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..1000u64 {
        // A handle is cheap to clone: every task has one.
        let caller = caller.clone();
        tasks.spawn(async move { square::call_async(&caller, number).await });
    }
    let mut sum = 0;
    while let Some(task) = tasks.join_next().await {
        sum += task??;
    }
    println!("1000 squares add up to {sum}, computed in {:?}", started.elapsed());

    // To give up a call, drop its future, here by a timeout. The connection stays usable.
    match ponder::call_async(&caller.within(Duration::from_millis(20)), b"why?").await {
        Err(CallError::TimedOut { .. }) => println!("ponder: too slow, given up"),
        other => return Err(format!("ponder should have timed out, got {other:?}").into()),
    }
    println!("12 squared is {}", square::call_async(caller, 12).await?);
    Ok(())
}
