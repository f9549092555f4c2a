//! Serves streams in a process of its own.
//!
//! `stream_peer ROLE SOCKET`: `shared` serves the endpoints that share the state, `exclusive` those that change it,
//! `threads` those that run on threads of their own, `market` and `store` a service, each to one caller. `workers` is
//! as `shared`, by two workers, and `tasks` serves by tokio, both until the process is killed.

use std::error::Error;
use std::path::Path;

use tachyon::{Callee, Dispatcher, RpcServer};
use tachyon_tests::process::arguments;
use tachyon_tests::streaming::{EXCLUSIVE, Exchange, MarketService, SHARED, Shop, StoreService, TASKS, THREADS};

const RING: usize = 1 << 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    let [role, socket] = &arguments[..] else { return Err("usage: stream_peer ROLE SOCKET".into()) };
    let path = Path::new(socket);
    match *role {
        "shared" => serve(path, Dispatcher::with_state(Shop::default(), SHARED)),
        "exclusive" => serve(path, Dispatcher::with_state(Shop::default(), EXCLUSIVE)),
        "threads" => serve(path, Dispatcher::with_state(Shop::default(), THREADS)),
        "store" => serve(path, StoreService::dispatcher(Shop::default())),
        "market" => serve(path, MarketService::dispatcher(Exchange::default())),
        "workers" => {
            let mut server = RpcServer::listen(path)?;
            Dispatcher::with_state(Shop::default(), SHARED).serve_workers(&mut server, 2)?;
            Ok(())
        }
        "tasks" => {
            let mut server = RpcServer::listen(path)?;
            let dispatcher = Dispatcher::with_state(Shop::default(), TASKS);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(dispatcher.serve_async(&mut server))?;
            Ok(())
        }
        other => Err(format!("no such role: {other}").into()),
    }
}

fn serve<S: 'static>(path: &Path, mut dispatcher: Dispatcher<S>) -> Result<(), Box<dyn Error>> {
    let mut callee = Callee::listen(path, RING, RING)?;
    dispatcher.serve_forever(&mut callee)?;
    Ok(())
}
