//! Unary calls of tonic over one channel, with TLS 1.3 and a certificate of each side: the server sends the bytes of a
//! request back.
//!
//! Both sides keep tonic's defaults. The server has its one service without a router, which costs tonic less than a
//! router would.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::stdin;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use tachyon_benches::{Outcome, tell};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::UnaryService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

const METHOD: &str = "/tachyon.benches.Echo/Echo";

/// Messages are bytes, without protocol buffers.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[derive(Clone, Copy)]
struct Echo;

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// The service, as tonic's generated code has it.
impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = *self;
        Box::pin(async move { Ok(tonic::server::Grpc::new(Plain).unary(echo, request).await) })
    }
}

/// The authority, and the identity of a side.
fn certificates(folder: &Path, name: &str) -> Outcome<(Certificate, Identity)> {
    let read = |file: &str| std::fs::read(folder.join(file));
    let authority = Certificate::from_pem(read("authority.pem")?);
    Ok((authority, Identity::from_pem(read(&format!("{name}.pem"))?, read(&format!("{name}.key"))?)))
}

pub(crate) fn server(address: SocketAddr, folder: &Path) -> Outcome {
    let (authority, identity) = certificates(folder, "host-b")?;
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
    Ok(Runtime::new()?.block_on(async { Server::builder().tls_config(tls)?.serve(address, Echo).await })?)
}

/// Makes the calls of each line of standard input, and answers with a line that has a time in nanoseconds:
/// `one-by-one SIZE CALLS` with the median of a call, `in-flight SIZE CALLS FLIGHT` with the time for all calls.
pub(crate) fn client(address: &str, folder: &Path) -> Outcome {
    let (authority, identity) = certificates(folder, "host-a")?;
    let tls = ClientTlsConfig::new().ca_certificate(authority).identity(identity).domain_name("host-b");
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    let runtime = Runtime::new()?;
    let calls = Grpc::new(runtime.block_on(connect(&endpoint))?);
    for line in stdin().lines() {
        let time = match line?.split_whitespace().collect::<Vec<_>>()[..] {
            ["one-by-one", size, count] => {
                runtime.block_on(one_by_one(calls.clone(), payload(size)?, count.parse()?))?
            }
            ["in-flight", size, count, flight] => {
                runtime.block_on(in_flight(&calls, &payload(size)?, count.parse()?, flight.parse()?))?
            }
            _ => return Err("an order is one-by-one SIZE CALLS or in-flight SIZE CALLS FLIGHT".into()),
        };
        tell(&u64::try_from(time.as_nanos())?)?;
    }
    Ok(())
}

/// Connects, for up to ten seconds: the server may have just started.
async fn connect(endpoint: &Endpoint) -> Outcome<Channel> {
    let begin = Instant::now();
    loop {
        match endpoint.connect().await {
            Err(_) if begin.elapsed() < Duration::from_secs(10) => tokio::time::sleep(Duration::from_millis(10)).await,
            connected => return Ok(connected?),
        }
    }
}

fn payload(size: &str) -> Outcome<Bytes> {
    Ok(vec![7; size.parse()?].into())
}

async fn call(calls: &mut Grpc<Channel>, payload: &Bytes) -> Result<(), Status> {
    calls.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let request = Request::new(payload.clone());
    let reply = calls.unary(request, PathAndQuery::from_static(METHOD), Plain).await?.into_inner();
    if reply.len() == payload.len() { Ok(()) } else { Err(Status::internal("the reply has another length")) }
}

async fn one_by_one(mut calls: Grpc<Channel>, payload: Bytes, count: usize) -> Outcome<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        call(&mut calls, &payload).await?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(*times.get(count / 2).ok_or("no calls")?)
}

async fn in_flight(calls: &Grpc<Channel>, payload: &Bytes, count: usize, flight: usize) -> Outcome<Duration> {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..flight {
        let (mut calls, payload) = (calls.clone(), payload.clone());
        tasks.spawn(async move {
            for _ in 0..count / flight {
                call(&mut calls, &payload).await?;
            }
            Ok::<(), Status>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(begin.elapsed())
}
