//! A peer that connects with the library, then does to the sockets of the connection what no library does.
//!
//! `hostile caller|callee|sender|receiver SOCKET ACT...`: a caller and a sender connect, the others listen. The acts come
//! one after the other, and then it hangs until it is killed:
//!
//! - `call` makes a call and takes its reply, `post:MS` begins one that takes so many milliseconds,
//! - `take` takes a request, `serve` answers one,
//! - `idle` waits until the other side has parked, most probably,
//! - `linger` passes a descriptor that takes long to close, and says whether it was `refused`,
//! - `say:LEN` sends a message of so many bytes, `flood:LEN` sends such messages for ever,
//! - `fill:LEN` sends them until no more fit,
//! - `receive` and `peek` receive for ever, from threads of their own, on copies of the sockets,
//! - `stuck` sends and receives bytes that never arrive, from such threads; it says `unable` where it cannot.
//!
//! `hostile foreign SOCKET` listens as another user, which only root can, and passes such a descriptor to each client.

use std::error::Error;
use std::io::Write;
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
use tachyon_tests::hostile::{Lingering, accept, listener};
use tachyon_tests::system::Absent;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Another user than root.
const NOBODY: u32 = 65_534;

/// Bytes of each ring.
const RING: usize = 1 << 16;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, path, acts @ ..] = &arguments[..] else { return Err("usage: hostile ROLE SOCKET ACT...".into()) };
    if *role == "foreign" {
        return foreign(Path::new(path));
    }
    let before = descriptors()?;
    let end = End::new(role, Path::new(path))?;
    let sockets = sockets(&before)?;
    report("connected")?;
    let mut scene = Scene { end, sockets, kept: Vec::new() };
    for act in acts {
        let (act, number) = act.split_once(':').unwrap_or((act, "0"));
        scene.play(act, number.parse()?)?;
    }
    report("done")?;
    loop {
        thread::park();
    }
}

#[expect(clippy::print_stdout, reason = "printing is how a peer reports")]
fn report(line: &str) -> Outcome {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

fn foreign(path: &Path) -> Outcome {
    let (group, user) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
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

/// The end of the connection that this process has.
enum End {
    Caller(Caller),
    Callee(Callee),
    Sender { _kept: Sender },
    Receiver { _kept: Receiver },
}

impl End {
    fn new(role: &str, path: &Path) -> Outcome<Self> {
        Ok(match role {
            "caller" => Self::Caller(Caller::connect(path)?),
            "callee" => Self::Callee(Callee::listen(path, RING, RING)?),
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
    // Among them was the folder itself, which is closed by now.
    let open = numbers.iter().filter(|number| Path::new("/proc/self/fd").join(number).read_link().is_ok());
    open.map(|number| Ok(number.parse()?)).collect()
}

/// Copies of the sockets that were not there before.
fn sockets(before: &[i32]) -> Outcome<Vec<OwnedFd>> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let new = descriptors()?.into_iter().filter(|descriptor| !before.contains(descriptor));
    let copies = new.map(|descriptor| Ok(pidfd_getfd(&own, descriptor, PidfdGetfdFlags::empty())?));
    let mut sockets = copies.collect::<Outcome<Vec<_>>>()?;
    sockets.retain(|copy| sockopt::socket_type(copy).is_ok());
    if sockets.is_empty() { Err("a connection without a socket".into()) } else { Ok(sockets) }
}

struct Scene {
    end: End,
    sockets: Vec<OwnedFd>,
    kept: Vec<std::net::TcpStream>,
}

impl Scene {
    fn play(&mut self, act: &str, number: usize) -> Outcome {
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
            "flood" => self.beside(move |socket| {
                let message = vec![0; number];
                loop {
                    match send(&socket, &message, flags()) {
                        Err(Errno::AGAIN) => thread::yield_now(),
                        // The other side has hung up.
                        Err(_) => return,
                        Ok(_) => {}
                    }
                }
            })?,
            "receive" => self.beside(|socket| while recv(&socket, &mut [0; 64][..], RecvFlags::empty()).is_ok() {})?,
            "peek" => self.beside(|socket| while recv(&socket, &mut [0; 64][..], RecvFlags::PEEK).is_ok() {})?,
            "stuck" => self.stick()?,
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
                // The other side has hung up.
                Err(Errno::PIPE | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        report(if refused > 0 { "refused" } else { "passed" })
    }

    /// Does something with each socket, which fails only once the other side has hung up.
    fn each(&self, act: impl Fn(&OwnedFd) -> Result<(), Errno>) -> Outcome {
        for socket in &self.sockets {
            match act(socket) {
                Ok(()) | Err(Errno::PIPE | Errno::CONNRESET | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Does something with a copy of each socket, in a thread of its own, and where it has to wait it waits.
    fn beside(&self, act: impl Fn(OwnedFd) + Clone + Send + 'static) -> Outcome {
        for socket in &self.sockets {
            let (copy, act) = (socket.try_clone()?, act.clone());
            fcntl_setfl(&copy, fcntl_getfl(&copy)? - OFlags::NONBLOCK)?;
            thread::spawn(move || act(copy));
        }
        Ok(())
    }

    fn stick(&self) -> Outcome {
        if let Err(error) = Absent::new() {
            return report(&format!("unable: {error}"));
        }
        // For a socket that both ends of were given away: something to receive.
        self.each(|socket| send(socket, &[0; 8], flags()).map(drop))?;
        self.beside(|socket| {
            if let Ok(mut absent) = Absent::new() {
                let _ = recv(&socket, absent.bytes(), RecvFlags::empty());
            }
        })?;
        let (tell, told) = channel();
        self.beside(move |socket| {
            if let Ok(mut absent) = Absent::new() {
                drop(tell.send(absent.awaited()));
                let _ = send(&socket, absent.bytes(), SendFlags::NOSIGNAL);
            }
        })?;
        for awaited in told.iter().take(self.sockets.len()) {
            poll(&mut [PollFd::new(&awaited?, PollFlags::IN)], None)?;
        }
        report("stuck")
    }
}

fn flags() -> SendFlags {
    SendFlags::DONTWAIT | SendFlags::NOSIGNAL
}
