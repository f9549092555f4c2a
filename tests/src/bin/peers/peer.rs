//! The other process of a test, in one of several roles: `peer ROLE SOCKET ...`. Prints results for the test.

use std::error::Error;
use std::mem::forget;
use std::path::Path;
use std::time::Duration;

use tachyon::server::AcceptorMode;
use tachyon::{
    Bus, Callee, Caller, Dispatcher, Options, PollingMode, Receiver, RpcBus, RpcServer, Sender, ServeError,
    ServerOptions, endpoints, tachyon_rpc,
};
use tachyon_tests::message::{length, message};
use tachyon_tests::proc::status;
use tachyon_tests::process::{arguments, report};
use tachyon_tests::server::{EventLog, STOP};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: peer ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("receiver", [side, capacity, most, mode]) => receiver(path, side, capacity.parse()?, most.parse()?, mode),
        ("sender", [side, capacity, most, count, mode]) => {
            sender(path, side, capacity.parse()?, most.parse()?, count.parse()?, mode)
        }
        ("sender_then_hang", [count]) => sender_then_hang(path, count.parse()?),
        ("unassigned_receiver", []) => {
            let mut receiver = Bus::connect(path)?.into_receiver()?;
            Ok(report(str::from_utf8(&receiver.recv()?)?)?)
        }
        ("idle_receiver", []) => {
            let _receiver = Receiver::listen(path, 4096)?;
            hang()
        }
        ("batches", [count]) => batches(path, count.parse()?),
        ("large", [side, end, capacity]) => large(path, side, end, capacity.parse()?),
        ("forgetting", [end]) => forgetting(path, end),
        ("callee", [forward, reverse, mode, text]) => callee(path, forward.parse()?, reverse.parse()?, mode, text),
        ("reversing_callee", [count]) => reversing_callee(path, count.parse()?),
        ("closing_callee", []) => {
            let mut callee = Callee::listen(path, 4096, 4096)?;
            drop(callee.serve()?);
            Ok(())
        }
        ("flooding_callee", []) => {
            let mut callee = Callee::listen(path, 4096, 4096)?;
            let call = callee.serve()?.correlation_id();
            loop {
                callee.reply(call, 1, b"again")?;
            }
        }
        ("unassigned_callee", []) => {
            let mut callee = RpcBus::listen(path, 4096, 4096)?.into_callee()?;
            Ok(Dispatcher::new(endpoints![echo]).serve_forever(&mut callee)?)
        }
        ("calling_listener", []) => {
            let mut caller = Caller::listen(path, 4096, 4096)?;
            Ok(report(str::from_utf8(&echo::call(&mut caller, b"turned around")?)?)?)
        }
        ("server", [workers, max_callers]) => {
            server(path, workers.parse()?, max_callers.parse()?, AcceptorMode::Thread)
        }
        ("server", [workers, max_callers, "inline"]) => {
            server(path, workers.parse()?, max_callers.parse()?, AcceptorMode::Inline)
        }
        ("silent_clients", []) => silent_clients(path),
        ("refused_acceptor", []) => refused_acceptor(path),
        ("refused_workers", []) => {
            let mut server = RpcServer::listen(path)?;
            match Dispatcher::default().serve_workers(&mut server, 4) {
                Err(ServeError::Io(_)) => Ok(report("refused")?),
                other => Ok(report(&format!("{other:?}"))?),
            }
        }
        ("caller", [count, most]) => caller(path, count.parse()?, most.parse()?),
        ("uploader", [endpoint]) => uploader(path, endpoint.parse()?),
        ("idle_caller", []) => {
            let mut caller = Caller::connect(path)?;
            caller.call(1, b"here")?;
            hang()
        }
        ("calls_then", [count, then]) => {
            let mut caller = Caller::connect(path)?;
            for number in 0..count.parse()? {
                caller.start(1, &message(number, 100))?;
            }
            report("sent")?;
            if *then == "close" { Ok(()) } else { hang() }
        }
        ("ping_then_calls", [count]) => {
            let mut caller = Caller::connect(path)?;
            // The callee does not answer yet, and the ping stays in the ring.
            drop(caller.ping(Duration::from_millis(1)));
            for number in 0..count.parse()? {
                caller.start(1, &message(number, 100))?;
            }
            report("sent")?;
            hang()
        }
        ("pipelining_caller", []) => {
            let mut caller = Caller::connect(path)?;
            loop {
                caller.start(1, &[7; 1000])?;
            }
        }
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

fn mode(name: &str) -> PollingMode {
    match name {
        "park" => PollingMode::Park,
        "spins" => PollingMode::SpinTimes(200),
        "pure" => PollingMode::Spin,
        _ => PollingMode::Adaptive,
    }
}

/// Uploads items without an end.
fn uploader(path: &Path, endpoint: u16) -> Outcome {
    let mut caller = Caller::connect(path)?;
    let upload = caller.open(endpoint, b"")?;
    while caller.send_item(upload, b"item")? {}
    Ok(())
}

fn hang() -> Outcome {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Checks every message of a stream, and prints their number.
fn receiver(path: &Path, side: &str, capacity: usize, most: usize, polling: &str) -> Outcome {
    let options = Options::new().polling(mode(polling));
    let mut receiver = match side {
        "listen" => Receiver::listen_with(path, capacity, &options)?,
        _ => Receiver::connect_with(path, &options)?,
    };
    let mut count = 0;
    loop {
        match receiver.recv() {
            Ok(guard) => {
                if *guard != *message(count, length(count, most)) || u64::from(guard.type_id()) != count % 1000 {
                    return Err(format!("message {count} is not what was sent").into());
                }
                count += 1;
            }
            Err(tachyon::RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(report(&count.to_string())?)
}

fn sender(path: &Path, side: &str, capacity: usize, most: usize, count: u64, polling: &str) -> Outcome {
    let options = Options::new().polling(mode(polling));
    let mut sender = match side {
        "listen" => Sender::listen_with(path, capacity, &options)?,
        _ => Sender::connect_with(path, &options)?,
    };
    for number in 0..count {
        sender.send(&message(number, length(number, most)), u32::try_from(number % 1000)?)?;
    }
    Ok(())
}

fn sender_then_hang(path: &Path, count: u64) -> Outcome {
    let mut sender = Sender::connect(path)?;
    for number in 0..count {
        sender.send(&number.to_le_bytes(), 0)?;
    }
    report("sent")?;
    hang()
}

fn batches(path: &Path, count: u64) -> Outcome {
    let mut receiver = Receiver::connect(path)?;
    let (mut seen, mut largest) = (0, 0);
    while seen < count {
        let batch = receiver.recv_batch(16)?;
        largest = largest.max(batch.len());
        for view in &batch {
            if *view != *message(seen, length(seen, 100)) {
                return Err(format!("message {seen} is not what was sent").into());
            }
            seen += 1;
        }
    }
    Ok(report(&largest.to_string())?)
}

/// Sends the request back.
#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

#[tachyon_rpc(msg_type = 2)]
fn fail(payload: &[u8]) -> Result<Vec<u8>, String> {
    Err(format!("refused {} bytes", payload.len()))
}

#[tachyon_rpc(msg_type = 3)]
fn panic(_payload: &[u8]) -> Vec<u8> {
    std::panic::set_hook(Box::new(|_| {}));
    panic!("on purpose")
}

#[tachyon_rpc(msg_type = 4)]
fn huge(_payload: &[u8]) -> Vec<u8> {
    vec![0; 1 << 20]
}

#[tachyon_rpc(msg_type = 5)]
fn exit(_payload: &[u8]) -> Vec<u8> {
    std::process::exit(0)
}

/// Sleeps for the requested milliseconds, then sends the request back.
#[tachyon_rpc(msg_type = 6)]
fn sleep(payload: &[u8]) -> Result<Vec<u8>, std::array::TryFromSliceError> {
    std::thread::sleep(Duration::from_millis(u64::from_le_bytes(payload.try_into()?)));
    Ok(payload.to_vec())
}

fn callee(path: &Path, forward: usize, reverse: usize, polling: &str, text: &str) -> Outcome {
    let mut callee = Callee::listen_with(path, forward, reverse, &Options::new().polling(mode(polling)))?;
    let mut dispatcher = Dispatcher::new(endpoints![echo, fail, panic, huge, exit, sleep]);
    dispatcher.hide_error_text(text != "text");
    let end = match dispatcher.serve_forever(&mut callee) {
        Err(ServeError::PeerDead) => "peer dead",
        Err(ServeError::FatalError(_)) => "fatal error",
        outcome => {
            outcome?;
            "closed"
        }
    };
    Ok(report(end)?)
}

/// Serves until endpoint [`STOP`] is called, then prints the events.
fn server(path: &Path, workers: usize, max_callers: usize, acceptor: AcceptorMode) -> Outcome {
    let options = ServerOptions::new()
        .acceptor(acceptor)
        .max_callers(max_callers)
        .connection(Options::new().handshake_timeout(Duration::from_millis(300)));
    let mut server = RpcServer::listen_with(path, options)?;
    let events = EventLog::of(&mut server);
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::new(endpoints![echo, fail, panic, huge, exit, sleep]);
    dispatcher.register(STOP, "stop", move |_: &[u8]| stopper.stop())?;
    if workers == 1 {
        dispatcher.serve_forever(&mut server)?;
    } else {
        dispatcher.serve_workers(&mut server, workers)?;
    }
    Ok(report(&events.text())?)
}

/// Keeps up to 400 connections that send no hello, and replaces the oldest again and again.
fn silent_clients(path: &Path) -> Outcome {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let address = SocketAddrUnix::new(path)?;
    let mut clients = std::collections::VecDeque::new();
    report("begins")?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match rustix::net::connect(&client, &address) {
            Ok(()) => clients.push_back(client),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
        if clients.len() > 400 {
            clients.pop_front();
        }
    }
}

/// Serves without address space for another thread, and prints the outcome.
fn refused_acceptor(path: &Path) -> Outcome {
    let mut server = RpcServer::listen_with(path, ServerOptions::new().stats(false))?;
    let mut dispatcher = Dispatcher::new(endpoints![echo]);
    // Free heap memory for small allocations. The block that is kept keeps the heap from shrinking.
    let mut small: Vec<_> = (0..64).map(|_| vec![1u8; 4096]).collect();
    let kept = small.pop();
    drop(small);
    let taken = status("self", "VmSize") * 1024;
    let limit = rustix::process::Rlimit { current: Some(taken + (128 << 10)), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::As, limit)?;
    let outcome = dispatcher.serve_forever(&mut server);
    let free = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::As, free)?;
    drop(kept);
    match outcome {
        Err(ServeError::Io(_)) => Ok(report("refused")?),
        other => Ok(report(&format!("{other:?}"))?),
    }
}

/// Makes `count` calls of every size, and checks each reply.
fn caller(path: &Path, count: u64, most: usize) -> Outcome {
    let mut caller = Caller::connect(path)?;
    for number in 0..count {
        let sent = message(number ^ u64::from(std::process::id()), length(number, most));
        if *caller.call(1, &sent)? != *sent {
            return Err(format!("call {number} came back wrong").into());
        }
    }
    Ok(report(&count.to_string())?)
}

/// Takes messages for ever, and forgets the guard of each.
fn forgetting(path: &Path, end: &str) -> Outcome {
    match end {
        "receiver" => {
            let mut receiver = Receiver::connect(path)?;
            loop {
                forget(receiver.recv()?);
            }
        }
        "batches" => {
            let mut receiver = Receiver::connect(path)?;
            loop {
                forget(receiver.recv_batch(16)?);
            }
        }
        "callee" => {
            let mut callee = Callee::connect(path)?;
            loop {
                let request = callee.serve()?;
                let call = request.correlation_id();
                forget(request);
                callee.reply(call, 1, b"")?;
            }
        }
        _ => {
            let mut caller = Caller::connect(path)?;
            loop {
                forget(caller.call(1, b"")?);
            }
        }
    }
}

/// Connects as one end of a connection with rings of `capacity` bytes, prints by how many KiB the resident shared
/// memory of this process has grown, and hangs.
fn large(path: &Path, side: &str, end: &str, capacity: usize) -> Outcome {
    let before = status("self", "RssShmem");
    let _kept: Box<dyn std::any::Any> = match (side, end) {
        ("listen", "sender") => Box::new(Sender::listen(path, capacity)?),
        ("listen", _) => Box::new(Callee::listen(path, capacity, capacity)?),
        (_, "receiver") => Box::new(Receiver::connect(path)?),
        _ => Box::new(Caller::connect(path)?),
    };
    report(&(status("self", "RssShmem") - before).to_string())?;
    hang()
}

/// Takes `count` requests, and answers them in reverse order.
fn reversing_callee(path: &Path, count: usize) -> Outcome {
    let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
    let mut requests = Vec::new();
    for _ in 0..count {
        let request = callee.serve()?;
        requests.push((request.correlation_id(), request.msg_type(), request.to_vec()));
    }
    for (correlation_id, msg_type, payload) in requests.iter().rev() {
        callee.reply(*correlation_id, *msg_type, payload)?;
    }
    match callee.serve() {
        Err(ServeError::Closed) => Ok(()),
        other => Err(format!("expected the caller to close, got {other:?}").into()),
    }
}
