//! A process that deals with a hostile peer: prints what each of its operations came to, and says of one that took
//! longer than [`AT_ONCE`] how long that was.
//!
//! `victim caller|async_caller|pool|receiver|sender SOCKET MODE` connects and makes operations with a timeout of half a
//! second, then closes. `victim connect|connect_any SOCKET` connects with such a timeout, then makes a call.

use std::error::Error;
use std::fmt::Debug;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::AsyncCaller;
use tachyon::{Caller, Options, PollingMode, Pool, PoolOptions, Receiver, Sender};
use tachyon_tests::mishaps::name;
use tokio::runtime::Builder;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Longest an operation may take that is to time out after [`LIMIT`]: for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(6);

const LIMIT: Duration = Duration::from_millis(500);

/// Operations of each kind: what the peer does during the first one is met by the second at the latest.
const TRIES: u32 = 2;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: victim ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    let options = Options::new().timeout(Duration::from_mins(1));
    let options = match rest {
        ["park"] => options.polling(PollingMode::Park),
        ["pure"] => options.polling(PollingMode::PureSpin),
        _ => options,
    };
    match *role {
        "caller" => calls(Caller::connect_with(path, &options)?),
        "async_caller" => async_caller(path, &options),
        "pool" => {
            let pool = Pool::new(path, &options, &PoolOptions::new().max(1));
            drop(pool.get()?);
            connected()?;
            for _ in 0..TRIES {
                tell("call", || pool.call_timeout(1, b"pooled", LIMIT))?;
            }
            close("close", pool)
        }
        "receiver" => receives(Receiver::connect_with(path, &options)?),
        "sender" => sends(Sender::connect_with(path, &options)?),
        "connect" | "connect_any" => connects(path, &options.timeout(LIMIT).any_uid(*role == "connect_any")),
        _ => Err(format!("no such role: {role}").into()),
    }
}

#[expect(clippy::print_stdout, reason = "printing is how a peer reports")]
fn report(line: &str) -> Outcome {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

fn connected() -> Outcome {
    report("connected")
}

/// Tells what came of an operation: the name of its error, or that it went well.
fn tell<T, E: Debug>(what: &str, operation: impl FnOnce() -> Result<T, E>) -> Outcome {
    let began = Instant::now();
    let outcome = operation().map(drop).map_err(|error| word(&error));
    let took = began.elapsed();
    let late = if took > AT_ONCE { format!(" took {took:?}") } else { String::new() };
    report(&format!("{what} {}{late}", outcome.err().unwrap_or_else(|| "fine".to_owned())))
}

/// The name of an error; of one that a pool passes on, of that one.
fn word(error: &impl Debug) -> String {
    let debugged = format!("{error:?}");
    name(debugged.strip_prefix("Call(").or(debugged.strip_prefix("Connect(")).unwrap_or(&debugged))
}

/// Closes an end of a connection by dropping it.
fn close<T>(what: &str, end: T) -> Outcome {
    tell(what, || {
        drop(end);
        Ok::<_, ()>(())
    })
}

fn calls(mut caller: Caller) -> Outcome {
    connected()?;
    tell("call", || caller.call_timeout(1, b"a request", LIMIT).map(drop))?;
    let call = caller.start(1, b"another");
    tell("wait", || call.and_then(|call| caller.finish_timeout(call, LIMIT).map(drop)))?;
    close("close", caller)
}

fn async_caller(path: &Path, options: &Options) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = AsyncCaller::connect_with(path, options).await?;
        connected()?;
        for _ in 0..TRIES {
            let began = Instant::now();
            let outcome = caller.call_timeout(1, b"a request", LIMIT).await;
            let took = began.elapsed();
            tell("call", || outcome)?;
            if took > AT_ONCE {
                report(&format!("call took {took:?}"))?;
            }
        }
        close("close", caller)
    })?;
    close("end", runtime)
}

fn receives(mut receiver: Receiver) -> Outcome {
    connected()?;
    for _ in 0..TRIES {
        tell("receive", || receiver.recv_timeout(LIMIT).map(drop))?;
        tell("look", || receiver.try_recv().map(drop))?;
    }
    close("close", receiver)
}

fn sends(mut sender: Sender) -> Outcome {
    connected()?;
    // The ring is full after as many messages as it has slots, and a receiver that takes none leaves it so.
    while sender.try_send(b"filling", 1).is_ok() {}
    for _ in 0..TRIES {
        tell("send", || sender.send_timeout(b"one more", 1, LIMIT))?;
        tell("try", || sender.try_send(b"one more", 1))?;
    }
    close("close", sender)
}

fn connects(path: &Path, options: &Options) -> Outcome {
    let mut caller = None;
    tell("connect", || Caller::connect_with(path, options).map(|connected| caller = Some(connected)))?;
    match caller {
        Some(caller) => calls(caller),
        None => Ok(()),
    }
}
