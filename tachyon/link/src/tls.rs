//! Certificates from PEM files, which are read again when they change.
//!
//! Both ends speak TLS 1.3. The far end asks each near end for a certificate if it has an authority to check it with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, WantsVerifier,
    WantsVersions, version::TLS13,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

const PROTOCOL: &[u8] = b"h2";

/// Why certificate files are of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or has nothing of what belongs in it.
    #[error("{}: {text}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        text: String,
    },
    /// The files do not belong together.
    #[error("{}: {text}", path.display())]
    Unusable {
        /// The certificate, or the authority.
        path: PathBuf,
        /// The cause.
        text: String,
    },
}

/// A certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The file of the chain, this end's own certificate first.
    pub cert: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unread(&self.key, &error))?;
        Ok((certificates(&self.cert)?, key))
    }

    fn unusable(&self, error: &rustls::Error) -> TlsError {
        TlsError::Unusable { path: self.cert.clone(), text: rustls_text(error) }
    }
}

/// The certificates of a far end.
#[derive(Debug)]
pub struct ServerTls {
    current: Reloaded<ServerConfig>,
}

impl ServerTls {
    /// Reads the files. With an authority in `ca` each near end must have a certificate of it.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn new(identity: Identity, ca: Option<PathBuf>) -> Result<Self, TlsError> {
        let files = [&identity.cert, &identity.key].into_iter().chain(&ca).cloned().collect();
        let read = move || {
            let builder = tls13(ServerConfig::builder_with_provider)?;
            let builder = match &ca {
                Some(ca) => {
                    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority(ca)?), provider());
                    let verifier = verifier.build();
                    let unusable = |error| TlsError::Unusable { path: ca.clone(), text: format!("{error}") };
                    builder.with_client_cert_verifier(verifier.map_err(unusable)?)
                }
                None => builder.with_no_client_auth(),
            };
            let (chain, key) = identity.read()?;
            let mut config = builder.with_single_cert(chain, key).map_err(|error| identity.unusable(&error))?;
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
            // A resumed session would go by an earlier check of the near end's certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(config)
        };
        Ok(Self { current: Reloaded::new(files, read)? })
    }

    pub(crate) async fn accept<T>(&self, io: T) -> Result<server::TlsStream<T>, String>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.current.get()).accept(io).await.map_err(|error| text(&error))
    }
}

/// The certificates of a near end.
#[derive(Debug)]
pub struct ClientTls {
    server_name: Option<String>,
    current: Reloaded<ClientConfig>,
}

impl ClientTls {
    /// Reads the files. The far end must have a certificate of the authority `ca` for `server_name`, or else for the
    /// host of its address. A far end that asks for a certificate gets `identity`.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn new(ca: PathBuf, identity: Option<Identity>, server_name: Option<String>) -> Result<Self, TlsError> {
        let own = identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
        let files = own.chain([&ca]).cloned().collect();
        let read = move || {
            let builder = tls13(ClientConfig::builder_with_provider)?.with_root_certificates(authority(&ca)?);
            let mut config = match &identity {
                Some(identity) => {
                    let (chain, key) = identity.read()?;
                    builder.with_client_auth_cert(chain, key).map_err(|error| identity.unusable(&error))?
                }
                None => builder.with_no_client_auth(),
            };
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
            config.resumption = Resumption::disabled();
            Ok(config)
        };
        Ok(Self { server_name, current: Reloaded::new(files, read)? })
    }

    pub(crate) async fn connect<T>(&self, address: &str, io: T) -> Result<client::TlsStream<T>, String>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let text = |error: io::Error| text(&error);
        let server_name = ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no server name"))?;
        TlsConnector::from(self.current.get()).connect(server_name, io).await.map_err(text)
    }
}

/// The first DNS name of a peer's certificate. `None` without a certificate.
pub(crate) fn peer_name(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<String>, String> {
    let Some(own) = chain.and_then(<[_]>::first) else { return Ok(None) };
    let own = webpki::EndEntityCert::try_from(own).map_err(|error| error.to_string())?;
    let name = own.valid_dns_names().next().map(str::to_owned);
    name.map(Some).ok_or_else(|| "the certificate has no DNS name".to_owned())
}

/// The cause of an error of TLS or of TCP.
pub(crate) fn text(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| error.to_string(), rustls_text)
}

fn rustls_text(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        // Two authorities may have the same name, and then the signature tells them apart.
        Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the certificate of the other end is of an unknown authority".to_owned()
        }
        Tls::NoCertificatesPresented => "the other end has no certificate".to_owned(),
        Tls::AlertReceived(alert) => format!("the other end refuses this end's TLS: {alert:?}"),
        Tls::InvalidMessage(_) => "the other end does not speak TLS".to_owned(),
        error => error.to_string(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn tls13<S: ConfigSide>(
    builder: impl FnOnce(Arc<CryptoProvider>) -> ConfigBuilder<S, WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, TlsError> {
    let unusable = |error: rustls::Error| TlsError::Unusable { path: PathBuf::new(), text: error.to_string() };
    builder(provider()).with_protocol_versions(&[&TLS13]).map_err(unusable)
}

fn unread(path: &Path, error: &pem::Error) -> TlsError {
    let text = match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    TlsError::File { path: path.to_owned(), text }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| unread(path, &error))?;
    if chain.is_empty() {
        return Err(unread(path, &pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn authority(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let unusable = |error: rustls::Error| TlsError::Unusable { path: path.to_owned(), text: error.to_string() };
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// A value that is read from files, and read again when a file has changed.
struct Reloaded<T> {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>,
    current: Mutex<(Vec<Stamp>, Arc<T>)>,
}

impl<T> core::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reloaded").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Tells two states of a file apart. `None` without a file.
type Stamp = Option<(SystemTime, u64)>;

impl<T> Reloaded<T> {
    fn new(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = Arc::new(read()?);
        Ok(Self { files, read: Box::new(read), current: Mutex::new((stamps, current)) })
    }

    fn get(&self) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the files are read, so that a write in between is seen next time.
        let stamps = stamps(&self.files);
        if stamps != current.0 {
            match (self.read)() {
                Ok(read) => {
                    tracing::info!(files = ?self.files, "read changed certificate files");
                    current.1 = Arc::new(read);
                }
                Err(error) => tracing::error!(%error, "kept the certificates: the changed files cannot be used"),
            }
            current.0 = stamps;
        }
        Arc::clone(&current.1)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}
