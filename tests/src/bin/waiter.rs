//! A peer that waits as a program does by default: `waiter callee|receiver|listener PATH [CAPACITY]`. It begins by
//! saying how many KiB of shared memory it has touched.
#![allow(clippy::print_stdout, reason = "what it prints is its report")]

use std::error::Error;
use std::path::Path;

use tachyon::{Callee, Dispatcher, Receiver, RecvError};
use tachyon_tests::system::status;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: waiter ROLE PATH [CAPACITY]".into()) };
    let path = Path::new(path);
    let capacity = rest.first().map_or(Ok(1 << 16), |capacity| capacity.parse())?;
    match role.as_str() {
        "callee" => {
            let mut callee = Callee::listen(path, capacity, capacity)?;
            println!("{}", status("self", "RssShmem"));
            let mut dispatcher = Dispatcher::default();
            dispatcher.register(1, "echo", <[u8]>::to_vec)?;
            dispatcher.serve_forever(&mut callee)?;
        }
        "receiver" => {
            let mut receiver = Receiver::listen(path, capacity)?;
            println!("{}", status("self", "RssShmem"));
            let mut sum = 0u64;
            loop {
                match receiver.recv() {
                    // Every third guard is forgotten.
                    Ok(guard) => {
                        sum += u64::from(guard.first().copied().unwrap_or(0));
                        if sum.is_multiple_of(3) {
                            std::mem::forget(guard);
                        }
                    }
                    Err(RecvError::Closed) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            println!("{sum}");
        }
        _ => return Err("no such role".into()),
    }
    Ok(())
}
