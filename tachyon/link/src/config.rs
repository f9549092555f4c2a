//! Settings of the program: flags, and one TOML file with the same names.
//!
//! A flag wins over the file. A name has underscores in the file, and hyphens as a flag.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, value_parser};
use tachyon::ServerOptions;
use thiserror::Error;
use toml::{Table, Value};
use tracing::level_filters::LevelFilter;

use crate::carrier::Peer;
use crate::far::{FarOptions, Policy};
use crate::grpc::{GrpcTarget, Limits, MOST_LANES};
use crate::near::NearOptions;
use crate::tls::{ClientTls, Identity, ServerTls, TlsError};

/// The highest number of an endpoint.
const LAST_ENDPOINT: u16 = 0xFFFE;

/// Why settings are refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The flags are refused, or ask for help: the text is for the terminal.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file cannot be read, or has a key or a value that is not allowed.
    #[error("{}: {text}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        text: String,
    },
    /// A setting is missing, or does not go with another one.
    #[error("`{key}` {text}")]
    Setting {
        /// The name of the setting.
        key: &'static str,
        /// The cause.
        text: String,
    },
    /// A certificate file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn setting(key: &'static str, text: impl Into<String>) -> ConfigError {
    ConfigError::Setting { key, text: text.into() }
}

/// A command of the program.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Runs a far end.
    Serve(ServeConfig),
    /// Runs a near end.
    Connect(ConnectConfig),
    /// Makes certificates for trials.
    Certificates {
        /// The folder of the certificates.
        folder: PathBuf,
        /// The names of the ends.
        names: Vec<String>,
    },
}

/// The settings of a far end.
#[derive(Debug)]
pub struct ServeConfig {
    /// The socket of the callee.
    pub socket: PathBuf,
    /// The addresses of `listen`: the program listens at the first one that it can.
    pub listen: Vec<SocketAddr>,
    /// The certificates, or `None` for plain TCP.
    pub tls: Option<Arc<ServerTls>>,
    /// The rights of near ends.
    pub allowed: AllowList,
    /// The limits of the carrier.
    pub limits: Limits,
    /// The other settings.
    pub options: FarOptions,
    /// Lowest level that is logged.
    pub log: LevelFilter,
}

/// The settings of a near end.
#[derive(Debug)]
pub struct ConnectConfig {
    /// Where the far end is.
    pub target: GrpcTarget,
    /// The socket for callers.
    pub socket: PathBuf,
    /// The other settings.
    pub options: NearOptions,
    /// Lowest level that is logged.
    pub log: LevelFilter,
}

/// Calls callees on another machine through a local socket
#[derive(Debug, Parser)]
#[command(name = "tachyon-link", version)]
struct Flags {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run a far end: let near ends call the callee at SOCKET
    ///
    /// [[peer]] tables in the file say which near end may call which endpoints.
    #[command(args_override_self = true)]
    Serve(ServeFlags),
    /// Run a near end: listen at SOCKET for callers of the callee behind the far end at ADDRESS
    #[command(args_override_self = true)]
    Connect(ConnectFlags),
    /// Make an authority, and a certificate of it for each name, for trials
    Certificates {
        /// Folder of the files
        folder: PathBuf,
        /// DNS names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct ServeFlags {
    /// Socket of the callee
    socket: Option<PathBuf>,
    /// Address to listen at
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Calls of one near end that are in flight; further calls wait
    #[arg(long, value_name = "CALLS", default_value = "4096", value_parser = value_parser!(u32).range(1..=1 << 20))]
    in_flight: u32,
    /// Streams of one near end that are open, and one more for its calls
    #[arg(
        long,
        value_name = "STREAMS",
        default_value = "128",
        value_parser = value_parser!(u32).range(2..=i64::from(MOST_LANES)),
    )]
    lanes: u32,
    /// Connections to the callee for each near end; further callers of it share them
    #[arg(long, value_name = "CONNECTIONS", default_value = "32", value_parser = value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Near ends that are connected at a time; further ones are refused
    #[arg(
        long,
        value_name = "NEAR_ENDS",
        default_value = "256",
        value_parser = value_parser!(u32).range(1..=1 << 20),
    )]
    near_ends: u32,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Debug, Args)]
struct ConnectFlags {
    /// Address of the far end, as HOST:PORT
    address: Option<String>,
    /// Socket for callers
    socket: Option<PathBuf>,
    /// Name in the certificate of the far end, if it is not the host of the address
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Debug, Args)]
struct CommonFlags {
    /// TOML file with these settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificate chain of this end, in PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Private key of this end, in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Authority that the other end needs a certificate of, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Go beyond this machine without TLS
    #[arg(long)]
    insecure: bool,
    /// Bytes of the longest message; the smaller length of both ends counts
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "67108864",
        value_parser = value_parser!(u32).range(16384..)
    )]
    max_message: u32,
    /// Bytes of the rings for requests and for replies
    #[arg(
        long,
        num_args = 2,
        action = ArgAction::Set,
        value_names = ["REQUESTS", "REPLIES"],
        value_parser = ring_size,
    )]
    ring_sizes: Option<Vec<usize>>,
    /// Longest time to connect
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    connect_timeout: Duration,
    /// Time without a sign of life after which the other end is gone
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    silence: Duration,
    /// Longest time that calls go on after a stop
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    stop_timeout: Duration,
    /// Lowest level that is logged
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        value_parser = ["off", "error", "warn", "info", "debug", "trace"],
    )]
    log: String,
}

/// Reads the arguments of the program, of which the first one is its name, and the file that they name.
///
/// # Errors
/// [`ConfigError`] names the setting and the allowed values.
///
/// # Examples
/// ```
/// use tachyon_link::config::{Command, parse};
///
/// let flags = ["tachyon-link", "connect", "localhost:7410", "/run/front.sock", "--silence", "1.5"];
/// let Ok(Command::Connect(config)) = parse(flags) else { unreachable!() };
/// assert_eq!(config.target.limits.silence.as_millis(), 1500);
///
/// let error = parse(["tachyon-link", "serve", "/run/back.sock", "--listen", "0.0.0.0:7410"]).unwrap_err();
/// assert!(error.to_string().contains("--insecure"));
/// ```
pub fn parse<T>(arguments: impl IntoIterator<Item = T>) -> Result<Command, ConfigError>
where
    T: Into<OsString>,
{
    let arguments = arguments.into_iter().map(Into::into).collect::<Vec<_>>();
    let flags = Flags::try_parse_from(&arguments)?;
    let path = match &flags.command {
        Subcommands::Serve(ServeFlags { common, .. }) | Subcommands::Connect(ConnectFlags { common, .. }) => {
            common.config.clone()
        }
        Subcommands::Certificates { .. } => None,
    };
    let Some(path) = path else { return flags.resolve(File::default()) };
    // The arguments begin with the names of the program and of the command. Flags of the file come before the others,
    // which win.
    let (names, own) = arguments.split_at(2);
    let file = File::read(&path, &names[1])?;
    let flags = [names, &file.flags, own].concat();
    Flags::try_parse_from(flags)?.resolve(file)
}

/// The content of a file.
#[derive(Default)]
struct File {
    /// The settings that are flags.
    flags: Vec<OsString>,
    address: Option<String>,
    socket: Option<PathBuf>,
    peers: Option<BTreeMap<String, Rights>>,
}

impl File {
    fn read(path: &Path, command: &OsString) -> Result<Self, ConfigError> {
        let refused = |text: String| ConfigError::File { path: path.to_owned(), text };
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let table = text.parse::<Table>().map_err(|error| refused(error.to_string().trim_end().to_owned()))?;
        let (mut file, mut known) = (Self::default(), known_keys(command));
        for (key, value) in table {
            if !known.contains(&key) {
                known.sort();
                return Err(refused(format!("there is no key `{key}`; the keys are {}", known.join(", "))));
            }
            let mistyped = |allowed| refused(format!("`{key}` is {value}, but must be {allowed}"));
            match (key.as_str(), &value) {
                ("socket", Value::String(socket)) => file.socket = Some(socket.into()),
                ("address", Value::String(address)) => file.address = Some(address.clone()),
                ("peer", Value::Array(peers)) => file.peers = Some(rights(peers).map_err(refused)?),
                ("peer", _) => return Err(mistyped("[[peer]], a table for each near end")),
                ("socket" | "address", _) => return Err(mistyped("a text")),
                ("insecure", Value::Boolean(false)) => {}
                ("insecure", Value::Boolean(true)) => file.flags.push("--insecure".into()),
                ("insecure", _) => return Err(mistyped("true or false")),
                ("ring_sizes", Value::Array(sizes)) => {
                    let sizes = sizes.iter().map(plain).collect::<Option<Vec<_>>>();
                    let sizes = sizes.filter(|sizes| sizes.len() == 2).ok_or_else(|| mistyped("two numbers"))?;
                    file.flags.push("--ring-sizes".into());
                    file.flags.extend(sizes.into_iter().map(OsString::from));
                }
                ("ring_sizes", _) => return Err(mistyped("two numbers")),
                (key, value) => {
                    let text = plain(value).ok_or_else(|| mistyped("a text or a number"))?;
                    file.flags.push(format!("--{}={text}", key.replace('_', "-")).into());
                }
            }
        }
        let alone = ["tachyon-link".into(), command.clone()].into_iter().chain(file.flags.iter().cloned());
        // The first line has the flag, the value and the allowed values.
        let line = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
        Flags::try_parse_from(alone).map_err(|error| refused(line(error)))?;
        Ok(file)
    }
}

/// The keys of a command in a file.
fn known_keys(command: &OsString) -> Vec<String> {
    let flags = Flags::command();
    let command = flags.get_subcommands().find(|known| known.get_name() == command);
    let known = command.into_iter().flat_map(clap::Command::get_arguments).map(|flag| flag.get_id().to_string());
    let peer = command.is_some_and(|command| command.get_name() == "serve").then(|| "peer".to_owned());
    known.filter(|key| key != "config").chain(peer).collect()
}

/// The text of a flag's value.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) => Some(value.to_string()),
        _ => None,
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "must be seconds from 0.01 to 3600".to_owned())
}

fn ring_size(text: &str) -> Result<usize, String> {
    let size = text.parse::<usize>().ok().filter(|size| size.is_power_of_two() && (1 << 12..=1 << 31).contains(size));
    size.ok_or_else(|| "must be a power of two from 4096 to 2147483648".to_owned())
}

impl Flags {
    fn resolve(self, file: File) -> Result<Command, ConfigError> {
        match self.command {
            Subcommands::Serve(flags) => flags.config(file).map(Command::Serve),
            Subcommands::Connect(flags) => flags.config(file).map(Command::Connect),
            Subcommands::Certificates { folder, names } => Ok(Command::Certificates { folder, names }),
        }
    }
}

impl CommonFlags {
    fn identity(&mut self) -> Result<Option<Identity>, ConfigError> {
        match (self.cert.take(), self.key.take()) {
            (Some(cert), Some(key)) => Ok(Some(Identity { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(setting("key", "is missing: it belongs to `cert`")),
            (None, Some(_)) => Err(setting("cert", "is missing: it belongs to `key`")),
        }
    }

    fn limits(&self) -> Limits {
        let (max_message, connect, silence) = (self.max_message as usize, self.connect_timeout, self.silence);
        Limits { max_message, connect, silence, ..Limits::default() }
    }

    fn rings(&self) -> Option<(usize, usize)> {
        self.ring_sizes.as_ref().map(|sizes| (sizes[0], sizes[1]))
    }

    fn level(&self) -> LevelFilter {
        // Each level of the flag is one of the filter's.
        self.log.parse().unwrap_or(LevelFilter::INFO)
    }
}

impl ServeFlags {
    fn config(mut self, file: File) -> Result<ServeConfig, ConfigError> {
        let socket = self.socket.or(file.socket).ok_or_else(|| setting("socket", "of the callee is missing"))?;
        let listen = self.listen.ok_or_else(|| setting("listen", "is missing: the far end's HOST:PORT"))?;
        let unresolved = |text: String| setting("listen", format!("is {listen:?}, but must be HOST:PORT: {text}"));
        let addresses = listen.to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect::<Vec<_>>();
        let common = &mut self.common;
        let tls = match (common.identity()?, common.ca.take()) {
            (Some(identity), ca) => {
                if ca.is_none() && file.peers.is_some() {
                    return Err(setting("ca", "is missing: without it no near end has the name of a [[peer]]"));
                }
                Some(Arc::new(ServerTls::new(identity, ca)?))
            }
            (None, Some(_)) => return Err(setting("cert", "is missing: `ca` needs `cert` and `key`")),
            (None, None) if file.peers.is_some() => {
                return Err(setting("cert", "is missing: without TLS no near end has the name of a [[peer]]"));
            }
            (None, None) => None,
        };
        if tls.is_none() && !common.insecure && !addresses.iter().all(|address| address.ip().is_loopback()) {
            let text = format!("is {listen}, which others can reach: give --cert, --key and --ca, or --insecure");
            return Err(setting("listen", text));
        }
        let (in_flight, connections) = (self.in_flight as usize, self.connections as usize);
        let stop_timeout = common.stop_timeout;
        let mut options = FarOptions { in_flight, connections, stop_timeout, ..FarOptions::default() };
        if let Some((requests, replies)) = common.rings() {
            options.callee = options.callee.ring_sizes(requests, replies);
        }
        let allowed = AllowList { peers: file.peers };
        let limits = Limits { lanes: self.lanes, near_ends: self.near_ends, ..common.limits() };
        let log = common.level();
        Ok(ServeConfig { socket, listen: addresses, tls, allowed, limits, options, log })
    }
}

impl ConnectFlags {
    fn config(mut self, file: File) -> Result<ConnectConfig, ConfigError> {
        let address = self.address.or(file.address);
        let address = address.ok_or_else(|| setting("address", "of the far end is missing"))?;
        let socket = self.socket.or(file.socket).ok_or_else(|| setting("socket", "for callers is missing"))?;
        let parts = address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let (host, _) = parts.ok_or_else(|| setting("address", format!("is {address:?}, but must be HOST:PORT")))?;
        let common = &mut self.common;
        let identity = common.identity()?;
        let tls = match common.ca.take() {
            Some(ca) => Some(Arc::new(ClientTls::new(ca, identity, self.server_name)?)),
            None if identity.is_some() => {
                return Err(setting("ca", "is missing: `cert` and `key` need it, to check the far end"));
            }
            None if self.server_name.is_some() => {
                return Err(setting("ca", "is missing: `server_name` is for TLS"));
            }
            None if common.insecure || is_loopback(host) => None,
            None => {
                let text = format!("is missing: {host} is another machine; --insecure goes without TLS");
                return Err(setting("ca", text));
            }
        };
        let mut options = NearOptions::default();
        let server = ServerOptions::new().stop_timeout(common.stop_timeout);
        options.server = match common.rings() {
            // Callers may ask for larger rings, as by default.
            Some((requests, replies)) => {
                server.ring_sizes(requests, replies).max_ring_sizes(requests.max(1 << 24), replies.max(1 << 24))
            }
            None => server,
        };
        // Opening the lane of calls has a time of its own.
        options.connect_timeout = common.connect_timeout * 2;
        let (limits, log) = (common.limits(), common.level());
        Ok(ConnectConfig { target: GrpcTarget { address, tls, limits }, socket, options, log })
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The rights of near ends by their names. Without a `[[peer]]` each near end may call all endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    peers: Option<BTreeMap<String, Rights>>,
}

/// The rights of one near end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rights {
    /// `None` is all.
    endpoints: Option<Vec<RangeInclusive<u16>>>,
    texts: bool,
}

impl AllowList {
    fn rights(&self, peer: &Peer) -> Option<&Rights> {
        const ALL: &Rights = &Rights { endpoints: None, texts: true };
        match &self.peers {
            Some(peers) => peer.name.as_ref().and_then(|name| peers.get(name)),
            None => Some(ALL),
        }
    }

    /// Whether a near end may call an endpoint. A near end without a `[[peer]]` may call none.
    #[must_use]
    pub fn allows(&self, peer: &Peer, msg_type: u16) -> bool {
        self.rights(peer).is_some_and(|rights| {
            let endpoints = rights.endpoints.as_ref();
            endpoints.is_none_or(|ranges| ranges.iter().any(|range| range.contains(&msg_type)))
        })
    }

    /// Whether the texts of errors travel to a near end.
    #[must_use]
    pub fn texts(&self, peer: &Peer) -> bool {
        self.rights(peer).is_some_and(|rights| rights.texts)
    }
}

impl Policy for AllowList {
    fn allows(&self, peer: &Peer, msg_type: u16) -> bool {
        self.allows(peer, msg_type)
    }

    fn texts(&self, peer: &Peer) -> bool {
        self.texts(peer)
    }
}

fn rights(peers: &[Value]) -> Result<BTreeMap<String, Rights>, String> {
    let mut all = BTreeMap::new();
    for peer in peers {
        let Value::Table(table) = peer else { return Err("`peer` must be [[peer]], a table for each near end".into()) };
        let Some(Value::String(name)) = table.get("name") else {
            return Err("a [[peer]] has no `name`, the first DNS name of its certificate".into());
        };
        let mut rights = Rights { endpoints: None, texts: true };
        for (key, value) in table {
            let mistyped = |allowed| format!("`{key}` of the peer `{name}` is {value}, but must be {allowed}");
            match (key.as_str(), value) {
                ("name", _) => {}
                ("texts", Value::Boolean(texts)) => rights.texts = *texts,
                ("texts", _) => return Err(mistyped("true or false")),
                ("endpoints", Value::Array(endpoints)) => {
                    let ranges = endpoints.iter().map(range).collect::<Option<_>>();
                    rights.endpoints = Some(ranges.ok_or_else(|| mistyped(ENDPOINTS))?);
                }
                ("endpoints", _) => return Err(mistyped(ENDPOINTS)),
                _ => {
                    return Err(format!(
                        "there is no key `{key}` of the peer `{name}`; the keys are name, endpoints, texts"
                    ));
                }
            }
        }
        if all.insert(name.clone(), rights).is_some() {
            return Err(format!("there are two peers `{name}`"));
        }
    }
    Ok(all)
}

/// The allowed values of `endpoints`.
const ENDPOINTS: &str = "a list of numbers and ranges like [1, \"10-19\"], each from 0 to 65534";

fn range(value: &Value) -> Option<RangeInclusive<u16>> {
    let range = match value {
        Value::Integer(number) => {
            let number = u16::try_from(*number).ok()?;
            number..=number
        }
        Value::String(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            first.trim().parse().ok()?..=last.trim().parse().ok()?
        }
        _ => return None,
    };
    (!range.is_empty() && *range.end() <= LAST_ENDPOINT).then_some(range)
}
