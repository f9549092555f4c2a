//! A client's handshake at a listener or a server, in steps that never wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;

use super::admission::{Admission, Failure, broken_protocol};
use super::conversation::{Conversation, ConversationError, Message, WaitError};
use super::credentials::{self, Credentials};
use super::error::ListenError;
use super::process::Process;
use super::rejection::Rejection;
use super::wire::{self, Wishes};
use super::{Offer, Pairing, Role};
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Deadline, Peer, Socket};

/// A client whose handshake is not finished. Its descriptor is readable when the next step is possible. Dropping it
/// hangs up.
#[derive(Debug)]
pub(crate) struct PendingClient {
    socket: Socket,
    who: Credentials,
    process: Process,
    deadline: Deadline,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Before the hello.
    Arrived,
    /// After the welcome, before the ready message.
    Welcomed { role: Role, rings: Vec<RingMemory> },
}

/// The text of a reject after a failure of this side.
const LISTENER_FAILED: &str = "the listener failed; see its own error";

/// The result of a step.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The next step needs another message.
    Waiting(PendingClient),
    Paired(Box<Pairing>),
    Rejected(Rejection),
}

impl PendingClient {
    /// Begins the handshake of an accepted client, within the handshake timeout of `options`, and at most until
    /// `overall`. Finds out the client's identity before it reads a message. `None` if the client's process has ended
    /// already.
    ///
    /// # Errors
    /// The system's error when it does not give the identity.
    pub(crate) fn new(socket: Socket, options: &Options, overall: Deadline) -> io::Result<Option<Self>> {
        let deadline = options.client_deadline(overall).min(overall);
        let who = match credentials::of_peer(socket.as_fd()) {
            Ok(Some(who)) => who,
            Ok(None) => return Ok(None),
            Err(error) => {
                // Best effort, as every reject.
                let _ = socket.send(wire::write_reject(wire::Code::Other, 0, LISTENER_FAILED).as_ref(), &[]);
                return Err(error);
            }
        };
        let process = Process::of(&who);
        Ok(Some(Self { socket, who, process, deadline, stage: Stage::Arrived }))
    }

    /// Restarts the handshake timeout, after a wait for another client.
    pub(crate) fn restart(&mut self, options: &Options, overall: Deadline) {
        self.deadline = options.client_deadline(overall).min(overall);
    }

    /// The client's process.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Whether the client runs as another user than this process.
    pub(crate) fn is_foreign(&self) -> bool {
        self.who.uid != Some(geteuid().as_raw())
    }

    /// Whether the client is welcomed, so that only its ready message is missing.
    pub(crate) fn was_welcomed(&self) -> bool {
        matches!(self.stage, Stage::Welcomed { .. })
    }

    /// The deadline of the handshake.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Takes the next step if its message has come. `terms` makes an offer from the wished ring sizes and from whether
    /// the client is a probe; `terms` is called once per client.
    ///
    /// # Errors
    ///
    /// [`ListenError`] only for a problem of this side; the client is then rejected.
    pub(crate) fn step(
        self,
        path: &Path,
        standard: &Offer,
        options: &Options,
        terms: impl FnOnce(&Wishes, bool) -> Result<Offer, Rejection>,
    ) -> Result<Progress, ListenError> {
        let Self { socket, who, process, deadline, stage } = self;
        let conversation = |socket| Conversation { socket, deadline: Deadline::after(Duration::ZERO), interrupt: None };
        let heard = match try_receive(&conversation(&socket)) {
            Some(heard) => heard,
            None if deadline.has_passed() => Err(ConversationError::Wait(WaitError::TimedOut)),
            None => return Ok(Progress::Waiting(Self { socket, who, process, deadline, stage })),
        };
        let admission = Admission { conversation: conversation(&socket), path, offer: standard, options };
        let failure = match (heard.map_err(|why| admission.broken(why)), stage) {
            (Ok(hello), Stage::Arrived) => {
                // The time for making the rings does not count for the client.
                let left = deadline.remaining();
                match answer_hello(&admission, &who, &hello, terms) {
                    Ok(stage) => {
                        let deadline = Deadline::from(left);
                        return Ok(Progress::Waiting(Self { socket, who, process, deadline, stage }));
                    }
                    Err(failure) => failure,
                }
            }
            (Ok(ready), Stage::Welcomed { role, rings }) => match wire::read_ready(ready.bytes()) {
                Ok(()) => {
                    let peer = Peer::new(socket, who.pidfd, who.pid, who.uid);
                    let pairing = Pairing { role, side: Side::Listener, rings, peer };
                    return Ok(Progress::Paired(Box::new(pairing)));
                }
                Err(error) => broken_protocol(error),
            },
            (Err(failure), _) => failure,
        };
        match failure {
            Failure::Rejected(why) => {
                admission.reject(&why);
                Ok(Progress::Rejected(why))
            }
            Failure::Local(error) => {
                admission.send_reject(wire::Code::Other, 0, LISTENER_FAILED);
                Err(error)
            }
        }
    }
}

/// The next message; `None` while there is none.
fn try_receive(conversation: &Conversation<'_>) -> Option<Result<Message, ConversationError>> {
    match conversation.receive(false) {
        Err(ConversationError::Wait(WaitError::TimedOut)) => None,
        heard => Some(heard),
    }
}

/// Answers a hello with a welcome.
fn answer_hello(
    admission: &Admission<'_>,
    who: &Credentials,
    hello: &Message,
    terms: impl FnOnce(&Wishes, bool) -> Result<Offer, Rejection>,
) -> Result<Stage, Failure> {
    admission.check_user(who)?;
    let hello = wire::read_hello(hello.bytes()).map_err(broken_protocol)?;
    let role = admission.agree_role(hello)?;
    let offer = terms(&hello.wishes, hello.probe).map_err(Failure::Rejected)?;
    let rings = Admission { offer: &offer, ..*admission }.welcome(role)?;
    Ok(Stage::Welcomed { role, rings })
}

impl AsFd for PendingClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::handshake::Kind;
    use crate::handshake::wire::Hello;
    use crate::ring::{Geometry, Use};

    #[test]
    fn the_time_for_making_rings_does_not_count_for_the_client() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let send = |bytes: &[u8]| rustix::net::send(&theirs, bytes, SendFlags::empty()).unwrap();
        let hello = Hello { kind: Kind::Rpc, role: Role::Source, probe: false, wishes: [None; 2], time_namespace: 0 };
        send(wire::write_hello(hello).as_ref());
        let patience = Duration::from_millis(200);
        let options = Options::new().handshake_timeout(patience);
        let offer =
            Offer { kind: Kind::Rpc, role: Role::Sink, geometries: vec![Geometry::new(4096, Use::Calls).unwrap(); 2] };
        let client = PendingClient::new(Socket::accepted(ours, false), &options, Deadline::never()).unwrap().unwrap();
        let slowly = |_: &Wishes, _| {
            std::thread::sleep(patience * 2);
            Ok(offer.clone())
        };
        let Ok(Progress::Waiting(client)) = client.step(Path::new("test"), &offer, &options, slowly) else {
            panic!("a correct hello")
        };
        assert!(!client.deadline().has_passed());
        send(wire::write_ready().as_ref());
        let linked = client.step(Path::new("test"), &offer, &options, |_, _| unreachable!("called once"));
        assert!(matches!(linked, Ok(Progress::Paired(_))), "{linked:?}");
    }
}
