//! Flags and files of the program.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tachyon_link::carrier::Peer;
use tachyon_link::certificates::write_certificates;
use tachyon_link::config::{Command, ConfigError, ConnectConfig, ServeConfig, parse};
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        write_certificates(dir.path(), &["far".to_owned()]).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The lines of a file that name the certificates.
    fn certificates(&self) -> String {
        let [cert, key, ca] = ["far.pem", "far.key", "authority.pem"].map(|name| self.path(name));
        format!("cert = {cert:?}\nkey = {key:?}\nca = {ca:?}\n")
    }

    fn parse(&self, content: &str, flags: &[&str]) -> Result<Command, ConfigError> {
        let path = self.path("link.toml");
        fs::write(&path, content).unwrap();
        let (command, flags) = flags.split_first().unwrap();
        parse([&["tachyon-link", command, "--config", &path], flags].concat())
    }

    fn serve(&self, content: &str, flags: &[&str]) -> ServeConfig {
        let flags = [&["serve"], flags].concat();
        let Command::Serve(config) = self.parse(content, &flags).unwrap() else { unreachable!() };
        config
    }

    fn connect(&self, content: &str, flags: &[&str]) -> ConnectConfig {
        let flags = [&["connect"], flags].concat();
        let Command::Connect(config) = self.parse(content, &flags).unwrap() else { unreachable!() };
        config
    }
}

fn peer(name: &str) -> Peer {
    Peer { name: Some(name.to_owned()), address: None }
}

const SERVE: &str = "socket = '/run/back.sock'\nlisten = '127.0.0.1:7410'\n";
const CONNECT: &str = "address = 'localhost:7410'\nsocket = '/run/front.sock'\n";

#[test]
fn flags_win_over_the_file() {
    let files = Files::new();
    let content = "max_message = 20480\nin_flight = 7\nlanes = 9\nnear_ends = 5\nconnections = 3\n\
                   connect_timeout = 2\nsilence = 0.5\n\
                   stop_timeout = 9.5\nring_sizes = [8192, 16384]\nlog = 'warn'\ninsecure = false\n";
    let config = files.serve(&format!("{SERVE}{content}"), &[]);
    assert_eq!(
        (config.socket.as_path(), config.listen[0]),
        ("/run/back.sock".as_ref(), "127.0.0.1:7410".parse().unwrap())
    );
    assert_eq!((config.limits.max_message, config.limits.lanes, config.options.in_flight), (20480, 9, 7));
    assert_eq!((config.limits.near_ends, config.options.connections), (5, 3));
    assert_eq!(config.limits.connect, Duration::from_secs(2));
    assert_eq!(config.limits.silence, Duration::from_millis(500));
    assert_eq!(config.options.stop_timeout, Duration::from_millis(9500));
    assert_eq!(config.log, LevelFilter::WARN);
    let flags = [
        "/run/other.sock",
        "--listen",
        "127.0.0.1:1",
        "--max-message",
        "40960",
        "--in-flight=8",
        "--silence",
        "4",
        "--ring-sizes",
        "4096",
        "4096",
        "--log",
        "debug",
    ];
    let config = files.serve(&format!("{SERVE}{content}"), &flags);
    assert_eq!((config.socket, config.listen[0].port()), (PathBuf::from("/run/other.sock"), 1));
    assert_eq!((config.limits.max_message, config.limits.lanes, config.options.in_flight), (40960, 9, 8));
    assert_eq!((config.limits.silence, config.log), (Duration::from_secs(4), LevelFilter::DEBUG));

    let config = files.connect(CONNECT, &[]);
    assert_eq!((config.target.address.as_str(), config.target.tls.is_some()), ("localhost:7410", false));
    let content = format!("{CONNECT}{}server_name = 'far'\n", files.certificates());
    let config = files.connect(&content, &["127.0.0.1:2"]);
    assert_eq!((config.target.address.as_str(), config.socket.to_str().unwrap()), ("127.0.0.1:2", "/run/front.sock"));
    assert!(config.target.tls.is_some());
}

#[test]
fn a_peer_has_the_rights_of_its_table() {
    let files = Files::new();
    let tables = "[[peer]]\nname = 'host-b'\nendpoints = [1, '10-20', '65534']\ntexts = false\n\
                  [[peer]]\nname = 'host-c'\n[[peer]]\nname = 'host-d'\nendpoints = []\n";
    let allowed = files.serve(&format!("{SERVE}{}{tables}", files.certificates()), &[]).allowed;
    let of = |name: &str| [0, 1, 2, 9, 10, 20, 21, 65534].map(|msg_type| allowed.allows(&peer(name), msg_type));
    assert_eq!(of("host-b"), [false, true, false, false, true, true, false, true]);
    assert_eq!(of("host-c"), [true; 8]);
    assert_eq!(of("host-d"), [false; 8]);
    assert_eq!(of("host-e"), [false; 8]);
    assert!(!allowed.allows(&Peer::default(), 1));
    let texts = ["host-b", "host-c", "host-e"].map(|name| allowed.texts(&peer(name)));
    assert_eq!(texts, [false, true, false]);

    let allowed = files.serve(SERVE, &[]).allowed;
    assert!(allowed.allows(&Peer::default(), 1) && allowed.texts(&Peer::default()));
}

#[test]
fn an_error_names_the_setting_and_the_allowed_values() {
    let files = Files::new();
    let with_tls = format!("{SERVE}{}", files.certificates());
    let no_authority = with_tls.lines().filter(|line| !line.starts_with("ca")).collect::<Vec<_>>().join("\n");
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        ("serve", "sokket = '/run'", &[], &["link.toml", "no key `sokket`", "socket", "peer", "max_message"]),
        ("connect", "[[peer]]\nname = 'a'", &[], &["no key `peer`", "server_name"]),
        ("serve", "socket = 7", &[], &["`socket` is 7", "a text"]),
        ("serve", "socket = ", &[], &["link.toml", "line 1"]),
        ("serve", "max_message = 0", &[], &["link.toml", "--max-message", "16384..=4294967295"]),
        ("serve", "max_message = true", &[], &["`max_message` is true", "a text or a number"]),
        ("serve", "insecure = 1", &[], &["`insecure` is 1", "true or false"]),
        ("serve", "lanes = 1", &[], &["--lanes", "2..=1024"]),
        ("serve", "near_ends = 0", &[], &["--near-ends", "1..=1048576"]),
        ("serve", "silence = -1", &[], &["--silence", "from 0.01 to 3600"]),
        ("serve", "ring_sizes = [4096]", &[], &["`ring_sizes`", "two numbers"]),
        ("serve", "ring_sizes = [4096, 5000]", &[], &["--ring-sizes", "power of two"]),
        ("serve", "", &["--log", "loud"], &["--log", "off, error, warn, info, debug, trace"]),
        ("serve", "", &["--nothing"], &["--nothing"]),
        ("serve", "", &[], &["`socket`", "missing"]),
        ("serve", "socket = 'a'", &[], &["`listen`", "HOST:PORT"]),
        ("serve", "socket = 'a'\nlisten = 'here'", &[], &["`listen`", "HOST:PORT"]),
        ("serve", SERVE, &["--listen", "0.0.0.0:0"], &["`listen`", "0.0.0.0:0", "--insecure"]),
        ("serve", SERVE, &["--cert", "a.pem"], &["`key`", "missing"]),
        ("serve", SERVE, &["--key", "a.key"], &["`cert`", "missing"]),
        ("serve", SERVE, &["--ca", "a.pem"], &["`cert`", "missing"]),
        ("serve", &with_tls, &["--cert", "/nothing.pem"], &["/nothing.pem", "No such file"]),
        ("serve", &format!("{SERVE}[[peer]]\nname = 'a'"), &[], &["`cert`", "[[peer]]"]),
        ("serve", &format!("{no_authority}\n[[peer]]\nname = 'a'"), &[], &["`ca`", "[[peer]]"]),
        ("serve", "peer = 1", &[], &["`peer`", "[[peer]]"]),
        ("serve", "[[peer]]\nendpoints = []", &[], &["no `name`"]),
        ("serve", "[[peer]]\nname = 'a'\nendpoint = 1", &[], &["`endpoint`", "`a`", "name, endpoints, texts"]),
        ("serve", "[[peer]]\nname = 'a'\nendpoints = ['9-1']", &[], &["`endpoints`", "`a`", "10-19", "65534"]),
        ("serve", "[[peer]]\nname = 'a'\nendpoints = [65535]", &[], &["65534"]),
        ("serve", "[[peer]]\nname = 'a'\nendpoints = [-1]", &[], &["65534"]),
        ("serve", "[[peer]]\nname = 'a'\ntexts = 'no'", &[], &["`texts`", "true or false"]),
        ("serve", "[[peer]]\nname = 'a'\n[[peer]]\nname = 'a'", &[], &["two peers `a`"]),
        ("connect", "", &[], &["`address`", "missing"]),
        ("connect", "", &["localhost:1"], &["`socket`", "missing"]),
        ("connect", "", &["localhost", "a.sock"], &["`address`", "HOST:PORT"]),
        ("connect", "", &["host-b:1", "a.sock"], &["`ca`", "host-b", "--insecure"]),
        ("connect", CONNECT, &["--server-name", "far"], &["`ca`", "server_name"]),
        ("connect", CONNECT, &["--cert", "a", "--key", "b"], &["`ca`", "missing"]),
    ];
    for (command, content, flags, texts) in cases {
        let error = files.parse(content, &[&[*command], *flags].concat()).unwrap_err().to_string();
        for text in *texts {
            assert!(error.contains(text), "{content:?} {flags:?}: {error:?} has no {text:?}");
        }
    }
    let error = parse(["tachyon-link", "serve", "--config", "/nothing.toml"]).unwrap_err().to_string();
    assert!(error.contains("/nothing.toml") && error.contains("No such file"), "{error}");
}

#[test]
fn insecure_goes_beyond_this_machine() {
    let files = Files::new();
    assert!(files.serve(SERVE, &["--listen", "0.0.0.0:0", "--insecure"]).tls.is_none());
    assert!(files.serve(&format!("{SERVE}insecure = true"), &["--listen", "0.0.0.0:0"]).tls.is_none());
    assert!(files.connect("insecure = true", &["192.0.2.1:1", "a.sock"]).target.tls.is_none());
    assert!(files.connect("", &["[::1]:1", "a.sock"]).target.tls.is_none());
}
