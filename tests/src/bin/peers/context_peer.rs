//! Callees and servers whose endpoints tell the context of their calls: `context_peer ROLE SOCKET`, and a server whose
//! endpoints call another one: `context_peer relay SOCKET NEXT`.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::{
    AsyncCaller, CallError, Callee, Caller, Dispatcher, Endpoint, RpcServer, ServeError, ServerOptions, TracingLayer,
};
use tachyon_tests::context::{
    ASYNC_CLOSURE, ASYNC_RELAY, CLOSURE, Counter, RAW, RELAY, Refusing, STOP, ShelfService, cancelled, largest, later,
    merge, merged, nap, panics, parse, plain, shown, slot, slow, watched,
};
use tachyon_tests::process::{arguments, report};

type Ended = Result<(), Box<dyn Error>>;

fn main() -> Ended {
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: context_peer ROLE SOCKET ..".into()) };
    let path = Path::new(path);
    match *role {
        "relay" => relay(path, Path::new(rest.first().ok_or("no next server")?)),
        "by_hand" => by_hand(path, |callee| callee.serve().map(Some)),
        "trying" => by_hand(path, Callee::try_serve),
        "callee" => {
            let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
            Ok(blocking()?.serve_forever(&mut callee)?)
        }
        "server" => {
            let mut server = RpcServer::listen(path)?;
            let mut dispatcher = blocking()?;
            stop_by_call(&mut dispatcher, &server)?;
            Ok(dispatcher.serve_forever(&mut server)?)
        }
        "workers" => {
            let mut server = RpcServer::listen(path)?;
            let mut dispatcher = blocking()?;
            stop_by_call(&mut dispatcher, &server)?;
            Ok(dispatcher.serve_workers(&mut server, 2)?)
        }
        "tokio" => on_tokio(path, 16, Dispatcher::with_shared(Arc::new(Counter::default()), ShelfService::endpoints())),
        "one_place" => on_tokio(path, 1, Dispatcher::with_state(Counter::default(), ShelfService::endpoints())),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

/// Replies with the metadata and the length of each request.
fn by_hand(path: &Path, take: fn(&mut Callee) -> Result<Option<tachyon::rpc::RpcRxGuard<'_>>, ServeError>) -> Ended {
    let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
    loop {
        let request = match take(&mut callee) {
            Ok(Some(request)) => request,
            Ok(None) => {
                std::thread::yield_now();
                continue;
            }
            Err(ServeError::Closed | ServeError::PeerDead) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let metadata: Vec<_> = request.metadata().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (call, number) = (request.correlation_id(), request.msg_type());
        let shown = format!("{} {} {}", request.type_id(), request.len(), metadata.join(","));
        drop(request);
        callee.reply(call, number, shown.as_bytes())?;
    }
}

/// A server on tokio: each endpoint tells the trace of its call, and then calls `plain` of the server at `next`, with a
/// blocking caller, a caller of tokio, and from a thread of its own.
fn relay(path: &Path, next: &Path) -> Ended {
    let mut dispatcher = Dispatcher::default();
    dispatcher.layer(TracingLayer::new());
    let mut caller = Caller::connect(next)?;
    caller.layer(TracingLayer::new());
    let caller = Mutex::new(caller);
    dispatcher.register_with_context(RELAY, "relay", move |_, _| -> Result<String, CallError> {
        let mut caller = caller.lock().map_err(|_| CallError::Closed { sent: false })?;
        Ok(format!("{} {}", traceparent(), plain::call(&mut *caller, &[])?))
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut caller = AsyncCaller::connect(next).await?;
        caller.layer(TracingLayer::new());
        dispatcher.register_async_with_context(ASYNC_RELAY, "async relay", move |_, _| {
            let caller = caller.clone();
            async move {
                let before = traceparent();
                // Other calls are polled meanwhile.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let reply = plain::call_async(&caller, &[]).await?;
                assert_eq!(before, traceparent());
                Ok::<_, CallError>(format!("{before} {reply}"))
            }
        })?;
        let mut server = RpcServer::listen(path)?;
        stop_by_call(&mut dispatcher, &server)?;
        tokio::spawn(async move { dispatcher.serve_async(&mut server).await }).await??;
        Ok(())
    })
}

fn traceparent() -> String {
    TracingLayer::traceparent().unwrap_or_default()
}

fn blocking() -> Result<Dispatcher, Box<dyn Error>> {
    let mut dispatcher = Dispatcher::new(&[plain::ENTRY, slot::ENTRY, slow::ENTRY]);
    complete(&mut dispatcher)?;
    Ok(dispatcher)
}

/// Adds the closures and the layer.
fn complete<S: ?Sized>(dispatcher: &mut Dispatcher<S>) -> Ended {
    dispatcher.register_with_context(CLOSURE, "closure", |cx, _| shown(cx))?;
    dispatcher.register(RAW, "raw", <[u8]>::to_vec)?;
    dispatcher.layer(Refusing);
    Ok(())
}

fn stop_by_call<S: ?Sized>(dispatcher: &mut Dispatcher<S>, server: &RpcServer) -> Ended {
    let stopper = server.stopper();
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    Ok(())
}

fn on_tokio(path: &Path, places: usize, mut dispatcher: Dispatcher<Counter>) -> Ended {
    let mut functions = Dispatcher::with_state(
        AtomicU64::new(0),
        &[
            plain::ENTRY.lift(),
            slot::ENTRY.lift(),
            slow::ENTRY.lift(),
            later::ENTRY.lift(),
            nap::ENTRY.lift(),
            watched::ENTRY.lift(),
            cancelled::ENTRY.lift(),
            merge::ENTRY,
            parse::ENTRY.lift(),
            panics::ENTRY.lift(),
            merged::ENTRY,
            largest::ENTRY,
        ],
    );
    complete(&mut functions)?;
    complete(&mut dispatcher)?;
    functions.register_async_with_context(ASYNC_CLOSURE, "async closure", |cx, _| async move {
        tokio::task::yield_now().await;
        shown(&cx.get())
    })?;
    let options = ServerOptions::new().in_flight(places, places).stop_timeout(Duration::from_secs(5));
    let mut server = RpcServer::listen_with(path, options.clone())?;
    let mut shelf = RpcServer::listen_with(path.with_extension("shelf"), options)?;
    stop_by_call(&mut functions, &server)?;
    functions.on_failure(|failure| drop(report(&failure.to_string())));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let stop_shelf = shelf.stopper();
        let beside = tokio::spawn(async move { dispatcher.serve_async(&mut shelf).await });
        functions.serve_async(&mut server).await?;
        stop_shelf.stop();
        beside.await??;
        Ok(())
    })
}
