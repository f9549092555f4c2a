//! Serves streams by number: `raw_streams callee|server|workers|tokio SOCKET`. Prints `dropped` for each iterator of
//! `FOREVER` that is dropped.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tachyon::{Callee, Dispatcher, ErrorKind, HandlerError, ItemError, Items, RpcServer, ServerOptions, StreamSender};
use tachyon_tests::process::{arguments, report};
use tachyon_tests::raw_streams::{self, number};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// One item for each request in milliseconds.
const SLOW: u16 = 7;
/// Dies after so many items.
const DIE_AFTER: u16 = 8;
const STOP: u16 = 9;
/// Answers with the request and the number of bytes of all items.
const UPLOAD: u16 = 10;
/// Takes so many items, and refuses the next one.
const UPLOAD_SOME: u16 = 11;
/// Answers each item with the item in capitals.
const CHAT: u16 = 12;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path] = &arguments[..] else { return Err("usage: raw_streams ROLE SOCKET".into()) };
    let path = Path::new(path);
    if *role == "callee" {
        let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
        return Ok(dispatcher()?.serve_forever(&mut callee)?);
    }
    let options = ServerOptions::new().ring_sizes(1 << 16, 1 << 16).stats(false);
    let mut server = RpcServer::listen_with(path, options)?;
    let stopper = server.stopper();
    let mut dispatcher = dispatcher()?;
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    match *role {
        "server" => Ok(dispatcher.serve_forever(&mut server)?),
        "workers" => Ok(dispatcher.serve_workers(&mut server, 2)?),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(dispatcher.serve_async(&mut server))?)
        }
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

/// Counts up, and reports when it is dropped.
struct Forever(u32);

impl Iterator for Forever {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0 += 1;
        Some(self.0)
    }
}

impl Drop for Forever {
    fn drop(&mut self) {
        report("dropped").expect("the test reads the output");
    }
}

fn dispatcher() -> Outcome<Dispatcher> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut dispatcher = raw_streams::dispatcher(|| Forever(0))?;
    dispatcher
        .register_stream(SLOW, "slow", |request| {
            let pause = Duration::from_millis(u64::from(number(request)));
            (0..3_u32).inspect(move |_| std::thread::sleep(pause))
        })?
        .register_stream(DIE_AFTER, "die_after", |request| {
            let last = number(request);
            (0..=last).map(move |item| if item == last { std::process::abort() } else { item })
        })?
        .register_client_stream(UPLOAD, "upload", |request: Vec<u8>, items: Items<Vec<u8>>| {
            let mut size = 0;
            for item in items {
                size += item?.len() as u64;
            }
            Ok::<_, ItemError>([&request[..], &size.to_le_bytes()].concat())
        })?
        .register_client_stream(UPLOAD_SOME, "upload_some", |request: Vec<u8>, items: Items<Vec<u8>>| {
            for _ in items.take(number(&request) as usize) {}
            Err::<(), _>(HandlerError::new(ErrorKind::ResourceExhausted, "no more"))
        })?
        .register_two_way(CHAT, "chat", |_, items: Items<Vec<u8>>, out: StreamSender<Vec<u8>>| {
            for item in items {
                out.blocking_send(&item?.to_ascii_uppercase())?;
            }
            Ok::<_, ItemError>(())
        })?;
    Ok(dispatcher)
}
