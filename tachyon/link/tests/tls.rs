//! TLS of the carrier of a network: names, authorities, and files that change.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tachyon_link::carrier::{Carrier, CarrierError, Channel, Incoming};
use tachyon_link::grpc::{self, GrpcCarrier, GrpcChannel, GrpcTarget, Limits};
use tachyon_link::tls::{ClientTls, Identity, ServerTls, TlsError};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, whose certificate is `NAME.pem` of a directory.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
    ca: PathBuf,
}

impl Authority {
    fn new(dir: &TempDir, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = dir.path().join(format!("{name}.pem"));
        fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir: dir.path().to_owned(), ca }
    }

    /// A certificate for the names, in files of the given name.
    fn identity(&self, file: &str, names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.dir.join(format!("{file}{end}"));
        let identity = Identity { cert: path(".pem"), key: path(".key") };
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        fs::write(&identity.cert, cert.pem()).unwrap();
        identity
    }
}

async fn serve(identity: Identity, ca: Option<&Path>) -> (String, mpsc::Receiver<Incoming>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, incoming) = mpsc::channel(16);
    let tls = ServerTls::new(identity, ca.map(Path::to_owned)).unwrap();
    tokio::spawn(grpc::serve(listener, Some(Arc::new(tls)), Limits::default(), sender, std::future::pending::<()>()));
    (address, incoming)
}

async fn connect(address: &str, tls: ClientTls) -> Result<GrpcChannel, CarrierError> {
    let target = GrpcTarget { address: address.to_owned(), tls: Some(Arc::new(tls)), limits: Limits::default() };
    GrpcCarrier::new(target).connect().await
}

fn client(ca: &Path, identity: Option<Identity>, server_name: &str) -> ClientTls {
    ClientTls::new(ca.to_owned(), identity, Some(server_name.to_owned())).unwrap()
}

fn assert_unreachable(connected: Result<GrpcChannel, CarrierError>, text: &str) {
    let error = connected.unwrap_err();
    assert!(matches!(error, CarrierError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn a_near_end_has_the_first_name_of_its_certificate() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (address, mut incoming) = serve(authority.identity("far", &["far"]), Some(&authority.ca)).await;
    let own = authority.identity("near", &["host-b", "alias"]);
    let channel = connect(&address, client(&authority.ca, Some(own), "far")).await.unwrap();
    let _lane = channel.open().await.unwrap();
    let peer = incoming.recv().await.unwrap().peer;
    assert_eq!(peer.name.as_deref(), Some("host-b"));
    assert!(peer.address.unwrap().ip().is_loopback());
}

#[tokio::test]
async fn without_an_authority_a_near_end_has_no_name() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (address, mut incoming) = serve(authority.identity("far", &["far", "127.0.0.1"]), None).await;
    // The host of the address is in the certificate too.
    let tls = ClientTls::new(authority.ca.clone(), None, None).unwrap();
    let channel = connect(&address, tls).await.unwrap();
    let _lane = channel.open().await.unwrap();
    assert_eq!(incoming.recv().await.unwrap().peer.name, None);
}

#[tokio::test]
async fn a_refused_certificate_makes_the_far_end_unreachable() {
    let dir = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(&dir, "authority"), Authority::new(&dir, "other"));
    let (address, _incoming) = serve(authority.identity("far", &["far"]), Some(&authority.ca)).await;
    let own = authority.identity("near", &["host-b"]);
    let of_other = other.identity("stranger", &["host-b"]);
    let nameless = authority.identity("nameless", &[]);
    let connect = async |ca: &Path, identity, name: &str| connect(&address, client(ca, identity, name)).await;
    assert_unreachable(connect(&other.ca, Some(own.clone()), "far").await, "of an unknown authority");
    assert_unreachable(connect(&authority.ca, Some(own.clone()), "elsewhere").await, "\"elsewhere\"");
    assert_unreachable(connect(&authority.ca, None, "far").await, "CertificateRequired");
    assert_unreachable(connect(&authority.ca, Some(of_other), "far").await, "UnknownCA");
    assert_unreachable(connect(&authority.ca, Some(nameless), "far").await, "has closed the connection");
    let plain = GrpcTarget { address: address.clone(), tls: None, limits: Limits::default() };
    assert_unreachable(GrpcCarrier::new(plain).connect().await, "or expects TLS");
    connect(&authority.ca, Some(own), "far").await.unwrap();
}

#[tokio::test]
async fn a_far_end_without_tls_is_unreachable() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "authority");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, _incoming) = mpsc::channel(16);
    tokio::spawn(grpc::serve(listener, None, Limits::default(), sender, std::future::pending::<()>()));
    assert_unreachable(connect(&address, client(&authority.ca, None, "far")).await, "does not speak TLS");
}

#[tokio::test]
async fn a_silent_client_delays_no_other() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (address, _incoming) = serve(authority.identity("far", &["far"]), None).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let begin = Instant::now();
    connect(&address, client(&authority.ca, None, "far")).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "after {:?}", begin.elapsed());
    // The far end closes them.
    for socket in silent {
        timeout(PATIENCE, socket.readable()).await.unwrap().unwrap();
        assert_eq!(socket.try_read(&mut [0]).unwrap(), 0);
    }
}

#[tokio::test]
async fn a_far_end_takes_up_changed_files_and_keeps_to_usable_ones() {
    let dir = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(&dir, "authority"), Authority::new(&dir, "other"));
    let (address, mut incoming) = serve(authority.identity("far", &["far"]), Some(&authority.ca)).await;
    let own = authority.identity("near", &["host-b"]);
    let connect = async |name: &str| connect(&address, client(&authority.ca, Some(own.clone()), name)).await;
    let channel = connect("far").await.unwrap();
    let changed = authority.identity("far", &["renamed"]);
    connect("renamed").await.unwrap();
    assert_unreachable(connect("far").await, "\"far\"");
    // A key without its certificate, a broken file, and no file.
    fs::write(&changed.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    connect("renamed").await.unwrap();
    fs::write(&changed.cert, "no certificate").unwrap();
    connect("renamed").await.unwrap();
    fs::remove_file(&changed.cert).unwrap();
    connect("renamed").await.unwrap();
    authority.identity("far", &["again"]);
    connect("again").await.unwrap();
    // The far end now takes near ends of another authority alone.
    fs::copy(&other.ca, &authority.ca).unwrap();
    let tls = client(&other.ca, Some(own.clone()), "again");
    assert_unreachable(self::connect(&address, tls).await, "of an unknown authority");
    // A channel lives with the certificates that it began with.
    let _lane = channel.open().await.unwrap();
    assert!(incoming.recv().await.is_some());
}

#[tokio::test]
async fn a_near_end_takes_up_changed_files() {
    let dir = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(&dir, "authority"), Authority::new(&dir, "other"));
    let (address, mut incoming) = serve(authority.identity("far", &["far"]), Some(&authority.ca)).await;
    let own = authority.identity("near", &["host-b"]);
    let tls = Some(Arc::new(client(&authority.ca, Some(own), "far")));
    let carrier = GrpcCarrier::new(GrpcTarget { address, tls, limits: Limits::default() });
    let mut name = async || {
        let channel = carrier.connect().await?;
        let _lane = channel.open().await?;
        Ok::<_, CarrierError>(incoming.recv().await.unwrap().peer.name.clone().unwrap())
    };
    assert_eq!(name().await.unwrap(), "host-b");
    authority.identity("near", &["host-c"]);
    assert_eq!(name().await.unwrap(), "host-c");
    other.identity("near", &["host-d"]);
    assert!(name().await.unwrap_err().to_string().contains("UnknownCA"));
    fs::write(dir.path().join("near.pem"), "").unwrap();
    authority.identity("near", &["host-e"]);
    assert_eq!(name().await.unwrap(), "host-e");
}

#[test]
fn an_unusable_file_is_named() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (far, near) = (authority.identity("far", &["far"]), authority.identity("near", &["near"]));
    let missing = dir.path().join("missing.pem");
    let named = |error: TlsError, path: &Path, text: &str| {
        let error = error.to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(text), "{error}");
    };
    let no_key = Identity { key: missing.clone(), ..far.clone() };
    named(ServerTls::new(no_key, None).unwrap_err(), &missing, "No such file");
    let no_cert = Identity { cert: missing.clone(), ..far.clone() };
    named(ServerTls::new(no_cert, None).unwrap_err(), &missing, "No such file");
    let key_as_cert = Identity { cert: far.key.clone(), ..far.clone() };
    named(ServerTls::new(key_as_cert, None).unwrap_err(), &far.key, "no items");
    let mixed = Identity { key: near.key, ..far.clone() };
    named(ServerTls::new(mixed, None).unwrap_err(), &far.cert, "keys");
    named(ServerTls::new(far.clone(), Some(missing.clone())).unwrap_err(), &missing, "No such file");
    named(ClientTls::new(missing.clone(), None, None).unwrap_err(), &missing, "No such file");
    named(ClientTls::new(far.key.clone(), None, None).unwrap_err(), &far.key, "no items");
}
