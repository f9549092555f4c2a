//! A peer that connects with the library, and then attacks the other side through the sockets of the connection.
//!
//! `hostile caller|callee|sender|receiver SOCKET ACT...`: a caller connects, the others listen. The peer performs the
//! acts in order, and then hangs until it is killed:
//!
//! - `call` makes a call and takes the reply, `post:MS` starts a call whose handler sleeps for MS milliseconds,
//! - `take` takes a request, `serve` takes a request and answers it,
//! - `idle` waits until the other side has parked, most probably,
//! - `linger` passes a descriptor that takes long to close, and prints `passed` or `refused`,
//! - `say:LEN` sends a message of LEN bytes, `flood:LEN` sends such messages for ever,
//! - `fill:LEN` sends such messages until the socket is full,
//! - `receive` and `peek` receive for ever, in other threads, on copies of the sockets,
//! - `stuck` sends from and receives into a page that is never provided, in other threads. Prints `stuck`, or `unable`
//!   if the system does not permit it.
//!
//! `hostile foreign SOCKET` listens as another user, and passes a lingering descriptor to each client. Needs root.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use tachyon::{Callee, Caller, Receiver, Sender};
use tachyon_tests::lingering::Lingering;
use tachyon_tests::process::{self, arguments};
use tachyon_tests::userfault::MissingPage;
use tachyon_tests::wire::{accept, listener};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The user id of a user without rights.
const UNPRIVILEGED: u32 = 65_534;

/// Capacity of each ring, in bytes.
const RING: usize = 1 << 16;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path, acts @ ..] = &arguments[..] else { return Err("usage: hostile ROLE SOCKET ACT...".into()) };
    if *role == "foreign" {
        return foreign(Path::new(path));
    }
    let before = descriptors()?;
    let end = End::new(role, Path::new(path))?;
    let sockets = sockets(&before)?;
    report("connected")?;
    let mut connection = Connection { end, sockets, kept: Vec::new() };
    for act in acts {
        let (act, number) = act.split_once(':').unwrap_or((act, "0"));
        connection.perform(act, number.parse()?)?;
    }
    report("done")?;
    loop {
        thread::park();
    }
}

fn report(line: &str) -> Outcome {
    Ok(process::report(line)?)
}

fn foreign(path: &Path) -> Outcome {
    let (group, user) = (Gid::from_raw(UNPRIVILEGED), Uid::from_raw(UNPRIVILEGED));
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    let listening = listener(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777))?;
    report("connected")?;
    let mut kept = Vec::new();
    loop {
        let client = accept(&listening)?;
        report(match Lingering::new()?.pass(&client, b"garbage") {
            Ok(other) => {
                kept.push((client, other));
                "passed"
            }
            Err(Errno::PERM) => "refused",
            Err(_) => "too late",
        })?;
    }
}

/// This process's end of the connection.
enum End {
    Caller(Box<Caller>),
    Callee(Box<Callee>),
    Sender { _kept: Sender },
    Receiver { _kept: Receiver },
}

impl End {
    fn new(role: &str, path: &Path) -> Outcome<Self> {
        Ok(match role {
            "caller" => Self::Caller(Box::new(Caller::connect(path)?)),
            "callee" => Self::Callee(Box::new(Callee::listen(path, RING, RING)?)),
            "sender" => Self::Sender { _kept: Sender::listen(path, RING)? },
            "receiver" => Self::Receiver { _kept: Receiver::listen(path, RING)? },
            _ => return Err(format!("no such role: {role}").into()),
        })
    }
}

fn descriptors() -> Outcome<Vec<i32>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Outcome<_>>()?;
    // The entry for the folder itself is closed by now.
    let open = numbers.iter().filter(|number| Path::new("/proc/self/fd").join(number).read_link().is_ok());
    open.map(|number| Ok(number.parse()?)).collect()
}

/// Copies of the sockets that are not among the descriptors `before`.
fn sockets(before: &[i32]) -> Outcome<Vec<OwnedFd>> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let new = descriptors()?.into_iter().filter(|descriptor| !before.contains(descriptor));
    let copies = new.map(|descriptor| Ok(pidfd_getfd(&own, descriptor, PidfdGetfdFlags::empty())?));
    let mut sockets = copies.collect::<Outcome<Vec<_>>>()?;
    sockets.retain(|copy| sockopt::socket_type(copy).is_ok());
    if sockets.is_empty() { Err("the connection has no socket".into()) } else { Ok(sockets) }
}

struct Connection {
    end: End,
    sockets: Vec<OwnedFd>,
    kept: Vec<std::net::TcpStream>,
}

impl Connection {
    fn perform(&mut self, act: &str, number: usize) -> Outcome {
        match act {
            "call" => drop(self.caller()?.call(1, b"a call")?),
            "post" => drop(self.caller()?.start(6, &(number as u64).to_le_bytes())?),
            "take" => drop(self.callee()?.serve()?.to_vec()),
            "serve" => {
                let callee = self.callee()?;
                let request = callee.serve()?;
                let (call, msg_type, payload) = (request.correlation_id(), request.msg_type(), request.to_vec());
                drop(request);
                callee.reply(call, msg_type, &payload)?;
            }
            "idle" => thread::sleep(Duration::from_millis(100)),
            "linger" => self.linger()?,
            "say" => self.each(|socket| send(socket, &vec![0; number], flags()).map(drop))?,
            "fill" => self.each(|socket| {
                while send(socket, &vec![0; number], flags()).is_ok() {}
                Ok(())
            })?,
            "flood" => self.in_thread(move |socket| {
                let message = vec![0; number];
                loop {
                    match send(&socket, &message, flags()) {
                        Err(Errno::AGAIN) => thread::yield_now(),
                        // The other side hung up.
                        Err(_) => return,
                        Ok(_) => {}
                    }
                }
            })?,
            "receive" => {
                self.in_thread(|socket| while recv(&socket, &mut [0; 64][..], RecvFlags::empty()).is_ok() {})?;
            }
            "peek" => self.in_thread(|socket| while recv(&socket, &mut [0; 64][..], RecvFlags::PEEK).is_ok() {})?,
            "stuck" => self.hold_in_system_calls()?,
            _ => return Err(format!("no such act: {act}").into()),
        }
        Ok(())
    }

    fn caller(&mut self) -> Outcome<&mut Caller> {
        if let End::Caller(caller) = &mut self.end { Ok(caller) } else { Err("not a caller".into()) }
    }

    fn callee(&mut self) -> Outcome<&mut Callee> {
        if let End::Callee(callee) = &mut self.end { Ok(callee) } else { Err("not a callee".into()) }
    }

    fn linger(&mut self) -> Outcome {
        let mut refused = 0;
        for socket in &self.sockets {
            match Lingering::new()?.pass(socket, &[0; 8]) {
                Ok(other) => self.kept.push(other),
                Err(Errno::PERM) => refused += 1,
                // The other side hung up.
                Err(Errno::PIPE | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        report(if refused > 0 { "refused" } else { "passed" })
    }

    /// Runs `act` for each socket. A full socket, or a peer that hung up, is no error.
    fn each(&self, act: impl Fn(&OwnedFd) -> Result<(), Errno>) -> Outcome {
        for socket in &self.sockets {
            match act(socket) {
                Ok(()) | Err(Errno::PIPE | Errno::CONNRESET | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Runs `act` in a new thread for a blocking copy of each socket.
    fn in_thread(&self, act: impl Fn(OwnedFd) + Clone + Send + 'static) -> Outcome {
        for socket in &self.sockets {
            let (copy, act) = (socket.try_clone()?, act.clone());
            fcntl_setfl(&copy, fcntl_getfl(&copy)? - OFlags::NONBLOCK)?;
            thread::spawn(move || act(copy));
        }
        Ok(())
    }

    fn hold_in_system_calls(&self) -> Outcome {
        if let Err(error) = MissingPage::new() {
            return report(&format!("unable: {error}"));
        }
        // So that the receiving threads have a message to receive.
        self.each(|socket| send(socket, &[0; 8], flags()).map(drop))?;
        self.in_thread(|socket| {
            if let Ok(mut page) = MissingPage::new() {
                let _ = recv(&socket, page.bytes(), RecvFlags::empty());
            }
        })?;
        let (sender, receiver) = channel();
        self.in_thread(move |socket| {
            if let Ok(mut page) = MissingPage::new() {
                drop(sender.send(page.awaited()));
                let _ = send(&socket, page.bytes(), SendFlags::NOSIGNAL);
            }
        })?;
        for awaited in receiver.iter().take(self.sockets.len()) {
            poll(&mut [PollFd::new(&awaited?, PollFlags::IN)], None)?;
        }
        report("stuck")
    }
}

fn flags() -> SendFlags {
    SendFlags::DONTWAIT | SendFlags::NOSIGNAL
}
