//! A server that logs each executed request in a file, which lasts when the server dies.
//!
//! `service serve SOCKET LOG RING`: endpoints `RECORD` and `RECORD_AND_DIE_ONCE` append their request to LOG.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tachyon::{Dispatcher, RpcServer, ServerOptions, Stopper};
use tachyon_tests::process::arguments;
use tachyon_tests::service::{COUNT, ECHO, RECORD, RECORD_AND_DIE_ONCE, SLEEP, STOP, UPLOAD};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    let [role, socket, log, ring] = &arguments[..] else { return Err("usage: service serve SOCKET LOG RING".into()) };
    if *role != "serve" {
        return Err(format!("no such role: {role}").into());
    }
    let ring = ring.parse()?;
    let mut server = RpcServer::listen_with(Path::new(socket), ServerOptions::new().ring_sizes(ring, ring))?;
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    dispatcher(log, server.stopper())?.serve_forever(&mut server)?;
    Ok(())
}

fn dispatcher(log: File, stopper: Stopper) -> Result<Dispatcher, Box<dyn Error>> {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec)?;
    let own = log.try_clone()?;
    dispatcher.register(RECORD, "record", move |request: &[u8]| record(&own, request))?;
    let own = log;
    dispatcher.register(RECORD_AND_DIE_ONCE, "record_and_die_once", move |request: &[u8]| {
        let reply = record(&own, request)?;
        if own.metadata()?.len() == request.len() as u64 {
            std::process::abort();
        }
        Ok::<_, std::io::Error>(reply)
    })?;
    dispatcher.register(SLEEP, "sleep", |request: &[u8]| {
        std::thread::sleep(Duration::from_millis(u64::from_le_bytes(request.try_into()?)));
        Ok::<_, std::array::TryFromSliceError>(request.to_vec())
    })?;
    dispatcher.register_stream(COUNT, "count", |request| {
        let until = request.try_into().map_or(0, u64::from_le_bytes);
        1..until
    })?;
    dispatcher.register_client_stream(UPLOAD, "upload", |_, items| {
        items.map(|item| item.map(drop)).try_fold(0u64, |count, item| item.map(|()| count + 1))
    })?;
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    Ok(dispatcher)
}

fn record(mut log: &File, request: &[u8]) -> std::io::Result<Vec<u8>> {
    log.write_all(request)?;
    Ok(request.to_vec())
}
