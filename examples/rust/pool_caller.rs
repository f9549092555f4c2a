//! Eight threads share three connections to one server.
//!
//! ```text
//! cargo run --release -p tachyon-examples --bin pool_caller
//! ```
//!
//! Here the server is a thread, so that the example is one program. Usually it is another process.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use tachyon::{CallError, Dispatcher, Options, Pool, PoolOptions, RpcServer, endpoints, tachyon_rpc};

/// Counts the vowels of a text.
#[tachyon_rpc(msg_type = 1)]
fn vowels(text: &str) -> u64 {
    text.chars().filter(|letter| "aeiou".contains(letter.to_ascii_lowercase())).count() as u64
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::temp_dir().join(format!("tachyon-pool-{}.sock", std::process::id()));
    let mut server = RpcServer::listen(&socket)?;
    let stopper = server.stopper();
    let service = thread::spawn(move || Dispatcher::new(endpoints![vowels]).serve_forever(&mut server));

    // The pool connects callers when they are needed, at most three.
    let pool = Pool::new(&socket, &Options::new(), &PoolOptions::new().max(3).wait(Duration::from_secs(1)));
    let calls = thread::scope(|scope| {
        let pool = &pool;
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || call_often(pool, thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the threads do not panic")).sum::<Result<u64, _>>()
    })?;
    println!("{calls} calls by 8 threads over {} connections", pool.len());

    // A thread takes a caller for several calls in a row, or to read replies in place.
    let mut caller = pool.get()?;
    for text in ["shared memory", "rings", "aeiou"] {
        let count = vowels::call(&mut caller.within(Duration::from_secs(1)), text)?;
        println!("{text}: {count} vowels");
    }
    drop(caller);

    stopper.stop();
    service.join().expect("the server does not panic")?;
    Ok(())
}

/// Makes a thousand calls, each with a free caller of the pool.
fn call_often(mut pool: &Pool, thread: u64) -> Result<u64, CallError> {
    for number in 0..1000 {
        let text = format!("thread {thread} counts {number}");
        assert_eq!(vowels::call(&mut pool, &text)?, vowels(&text));
    }
    Ok(1000)
}
