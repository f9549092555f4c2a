//! The program: both ends as processes, between a callee and callers of this one.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tachyon::{CallError, Caller, Dispatcher, ErrorKind, HandlerError, RpcServer, ServeError, Stopper};
use tachyon_link::certificates::write_certificates;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// Returns the request.
const ECHO: u16 = 1;
/// Fails with the request as the text.
const FAIL: u16 = 2;
/// Returns when the callee's flag is set.
const WAIT: u16 = 3;

/// A process of the program, which is killed in the end.
struct Program {
    child: Child,
    line: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line: line.trim_end().to_owned() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the program goes on");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.ended().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tachyon-link"));
    command.args(arguments).args(["--log", "error"]);
    command
}

/// A callee, and the files of a link to it.
struct Setting {
    dir: TempDir,
    go_on: Arc<AtomicBool>,
    waits: Arc<AtomicBool>,
    stopper: Stopper,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Setting {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        write_certificates(dir.path(), &["host-a".to_owned(), "host-b".to_owned()]).unwrap();
        let (go_on, waits) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(ECHO, "echo", <[u8]>::to_vec).unwrap();
        let fail = |request: &[u8]| -> Result<Vec<u8>, HandlerError> {
            Err(HandlerError::new(ErrorKind::BadRequest, String::from_utf8_lossy(request)))
        };
        dispatcher.register(FAIL, "fail", fail).unwrap();
        let (done, begun) = (Arc::clone(&go_on), Arc::clone(&waits));
        let wait = move |_: &[u8]| {
            begun.store(true, Ordering::SeqCst);
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            b"done".to_vec()
        };
        dispatcher.register(WAIT, "wait", wait).unwrap();
        let mut server = RpcServer::listen(dir.path().join("back.sock")).unwrap();
        let stopper = server.stopper();
        let serving = Some(thread::spawn(move || dispatcher.serve_workers(&mut server, 2)));
        Self { dir, go_on, waits, stopper, serving }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with the certificates of a name.
    fn file(&self, name: &str, more: &str) -> String {
        let [cert, key, ca] = [format!("{name}.pem"), format!("{name}.key"), "authority.pem".to_owned()]
            .map(|name| self.path(&name).display().to_string());
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, format!("cert = '{cert}'\nkey = '{key}'\nca = '{ca}'\n{more}")).unwrap();
        path.display().to_string()
    }

    fn serve(&self, listen: &str, more: &str) -> (Program, String) {
        let (file, back) = (self.file("host-b", more), self.path("back.sock").display().to_string());
        let program = Program::start(&["serve", &back, "--listen", listen, "--config", &file]);
        let address = program.line.strip_prefix(&format!("serving {back} at ")).unwrap().to_owned();
        let address = address.replace("127.0.0.1", "localhost");
        (program, address)
    }

    fn connect(&self, address: &str) -> Program {
        let (file, front) = (self.file("host-a", ""), self.path("front.sock").display().to_string());
        let program = Program::start(&["connect", address, &front, "--config", &file]);
        assert_eq!(program.line, format!("connecting {front} to {address}"));
        program
    }

    /// A caller of the near end, once the link is connected.
    fn caller(&self) -> Caller {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut caller = Caller::connect(self.path("front.sock")).unwrap();
            let outcome = caller.call(ECHO, b"there?").map(drop);
            match outcome {
                Ok(()) => return caller,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.go_on.store(true, Ordering::SeqCst);
        self.stopper.stop();
        drop(self.serving.take().map(JoinHandle::join));
    }
}

fn remote<T>(outcome: Result<T, CallError>) -> (ErrorKind, String) {
    match outcome {
        Err(CallError::Remote(error)) => (error.kind, error.to_string()),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the call succeeded"),
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn both_ends_run_and_stop() {
    let setting = Setting::new();
    let peer = "[[peer]]\nname = 'host-a'\nendpoints = [1, 2]\ntexts = false\n";
    let (mut far, address) = setting.serve("127.0.0.1:0", peer);
    let mut near = setting.connect(&address);
    let mut caller = setting.caller();
    let long = vec![5; 30_000];
    assert_eq!(&*caller.call(ECHO, &long).unwrap(), &long[..]);
    let (kind, text) = remote(caller.call(FAIL, b"the secret"));
    assert_eq!(kind, ErrorKind::BadRequest);
    assert!(!text.contains("secret"), "{text}");
    let (kind, text) = remote(caller.call(WAIT, b""));
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert!(text.contains("`host-a` may not call msg_type 3"), "{text}");
    near.stop();
    assert!(Caller::connect_with(setting.path("front.sock"), &quick()).is_err());
    far.stop();
}

fn quick() -> tachyon::Options {
    tachyon::Options::new().timeout(Duration::from_millis(100))
}

#[test]
fn a_killed_far_end_is_reported_and_found_again() {
    let setting = Setting::new();
    let (mut far, address) = setting.serve("127.0.0.1:0", "");
    let _near = setting.connect(&address);
    let mut caller = setting.caller();
    let call = thread::spawn(move || remote(caller.call(WAIT, b"")));
    wait_until("the call arrives", || setting.waits.load(Ordering::SeqCst));
    far.signal(Signal::SIGKILL);
    far.ended();
    let (kind, text) = call.join().unwrap();
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("closed the connection"), "{text}");
    setting.go_on.store(true, Ordering::SeqCst);
    // Nothing arrives at a callee that cannot be reached, and the caller's connection goes on.
    let mut caller = Caller::connect(setting.path("front.sock")).unwrap();
    let (kind, text) = remote(caller.call(ECHO, b""));
    assert_eq!(kind, ErrorKind::Unreachable, "{text}");
    let (_far, _) = setting.serve(&address, "");
    assert_eq!(&*setting.caller().call(ECHO, b"again").unwrap(), b"again");
}

#[test]
fn a_stopped_far_end_finishes_its_calls() {
    let setting = Setting::new();
    let (mut far, address) = setting.serve("127.0.0.1:0", "");
    let _near = setting.connect(&address);
    let mut caller = setting.caller();
    let call = thread::spawn(move || caller.call(WAIT, b"").map(|reply| reply.to_vec()));
    wait_until("the call arrives", || setting.waits.load(Ordering::SeqCst));
    far.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(300));
    assert!(far.child.try_wait().unwrap().is_none());
    setting.go_on.store(true, Ordering::SeqCst);
    assert_eq!(call.join().unwrap().unwrap(), b"done");
    assert!(far.ended().success());
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let setting = Setting::new();
    let (mut far, address) = setting.serve("127.0.0.1:0", "stop_timeout = 3600");
    let _near = setting.connect(&address);
    let mut caller = setting.caller();
    let call = thread::spawn(move || remote(caller.call(WAIT, b"")));
    wait_until("the call arrives", || setting.waits.load(Ordering::SeqCst));
    far.signal(Signal::SIGINT);
    thread::sleep(Duration::from_millis(300));
    far.signal(Signal::SIGTERM);
    assert_eq!(far.ended().code(), Some(1));
    assert_eq!(call.join().unwrap().0, ErrorKind::Unavailable);
}

#[test]
fn a_far_end_of_another_authority_is_unreachable() {
    let (setting, other) = (Setting::new(), Setting::new());
    let (_far, address) = other.serve("127.0.0.1:0", "");
    let _near = setting.connect(&address);
    let mut caller = Caller::connect(setting.path("front.sock")).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let (kind, text) = remote(caller.call(ECHO, b""));
        assert_eq!(kind, ErrorKind::Unreachable);
        if text.contains("of an unknown authority") {
            break;
        }
        assert!(Instant::now() < end, "{text}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

#[test]
fn a_program_that_cannot_start_says_why() {
    let setting = Setting::new();
    let back = setting.path("back.sock").display().to_string();
    let (code, text) = refused(&["serve", &back]);
    assert!(code == Some(2) && text.contains("`listen` is missing"), "{code:?} {text}");
    let (_far, address) = setting.serve("127.0.0.1:0", "");
    let (code, text) = refused(&["serve", &back, "--listen", &address]);
    assert!(code == Some(1) && text.contains("in use"), "{code:?} {text}");
    // A callee listens there.
    let (code, text) = refused(&["connect", &address, &back]);
    assert!(code == Some(1) && text.contains("back.sock"), "{code:?} {text}");
    let (code, text) = refused(&["connect", &address, Path::new("/nothing/front.sock").to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("/nothing"), "{code:?} {text}");
}

#[test]
fn certificates_are_made_by_the_program() {
    let dir = TempDir::new().unwrap();
    let mut made = Command::new(env!("CARGO_BIN_EXE_tachyon-link"));
    let mut made = made.arg("certificates").arg(dir.path()).arg("host-a").spawn().unwrap();
    assert!(made.wait().unwrap().success());
    assert!(dir.path().join("host-a.key").exists());
}
