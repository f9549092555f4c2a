//! A process whose peer is hostile. Prints the outcome of each operation, and the duration if it exceeds [`AT_ONCE`].
//!
//! `victim caller|async_caller|pool|receiver|sender SOCKET MODE` connects, performs operations with a timeout of half a
//! second, and closes. `victim connect|connect_any SOCKET` connects with such a timeout, and makes calls.

use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{AsyncCaller, Caller, Options, PollingMode, Pool, PoolOptions, Receiver, Sender};
use tachyon_tests::mishaps::name;
use tachyon_tests::process::{self, arguments};
use tokio::runtime::Builder;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Longest that an operation with the timeout [`LIMIT`] may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(6);

const LIMIT: Duration = Duration::from_millis(500);

/// Operations of each kind: the second one notices an attack during the first.
const TRIES: u32 = 2;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: victim ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    let options = Options::new().timeout(Duration::from_mins(1));
    let options = match rest {
        ["park"] => options.polling(PollingMode::Park),
        ["pure"] => options.polling(PollingMode::Spin),
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
                run("call", || pool.call_timeout(1, b"pooled", LIMIT))?;
            }
            close("close", pool)
        }
        "receiver" => receives(Receiver::connect_with(path, &options)?),
        "sender" => sends(Sender::connect_with(path, &options)?),
        "connect" | "connect_any" => connects(path, &options.timeout(LIMIT).any_uid(*role == "connect_any")),
        _ => Err(format!("no such role: {role}").into()),
    }
}

fn report(line: &str) -> Outcome {
    Ok(process::report(line)?)
}

fn connected() -> Outcome {
    report("connected")
}

/// Prints the outcome of an operation: the name of its error, or `fine`.
fn run<T, E: Debug>(what: &str, operation: impl FnOnce() -> Result<T, E>) -> Outcome {
    let began = Instant::now();
    let outcome = operation().map(drop).map_err(|error| word(&error));
    let took = began.elapsed();
    let late = if took > AT_ONCE { format!(" took {took:?}") } else { String::new() };
    report(&format!("{what} {}{late}", outcome.err().unwrap_or_else(|| "fine".to_owned())))
}

/// The name of an error, or of the error inside an error of a pool.
fn word(error: &impl Debug) -> String {
    let debugged = format!("{error:?}");
    name(debugged.strip_prefix("Call(").or(debugged.strip_prefix("Connect(")).unwrap_or(&debugged))
}

/// Closes an end of a connection by dropping it.
fn close<T>(what: &str, end: T) -> Outcome {
    run(what, || {
        drop(end);
        Ok::<_, ()>(())
    })
}

fn calls(mut caller: Caller) -> Outcome {
    connected()?;
    run("call", || caller.call_timeout(1, b"a request", LIMIT).map(drop))?;
    let call = caller.start(1, b"another");
    run("wait", || call.and_then(|call| caller.finish_timeout(call, LIMIT).map(drop)))?;
    close("close", caller)
}

fn async_caller(path: &Path, options: &Options) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = AsyncCaller::connect_with(path, options).await?;
        connected()?;
        for _ in 0..TRIES {
            let began = Instant::now();
            let outcome = caller.within(LIMIT).call(1, b"a request").await;
            let took = began.elapsed();
            run("call", || outcome)?;
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
        run("receive", || receiver.recv_timeout(LIMIT).map(drop))?;
        run("look", || receiver.try_recv().map(drop))?;
    }
    close("close", receiver)
}

fn sends(mut sender: Sender) -> Outcome {
    connected()?;
    // Fills the ring, whose receiver takes no message.
    while sender.try_send(b"filling", 1).is_ok() {}
    for _ in 0..TRIES {
        run("send", || sender.send_timeout(b"one more", 1, LIMIT))?;
        run("try", || sender.try_send(b"one more", 1))?;
    }
    close("close", sender)
}

fn connects(path: &Path, options: &Options) -> Outcome {
    let mut caller = None;
    run("connect", || Caller::connect_with(path, options).map(|connected| caller = Some(connected)))?;
    match caller {
        Some(caller) => calls(caller),
        None => Ok(()),
    }
}
