//! A client's handshake in steps that never wait, for a server that has others to attend to.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use super::admission::{Admission, Client, Failure, refused};
use super::conversation::{Break, Conversation, Message, Stop};
use super::credentials::Credentials;
use super::error::ListenError;
use super::refusal::Refusal;
use super::wire::{self, Wishes};
use super::{Link, Offer, Role};
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Deadline, Peer, Socket};

/// A client on its way in. Its descriptor becomes readable when the next step can be taken; dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Guest {
    socket: Socket,
    deadline: Deadline,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing heard yet.
    Arrived,
    /// Welcomed; it has to confirm.
    Welcomed { who: Credentials, role: Role, rings: Vec<RingMemory> },
}

/// What a step led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It has not said enough yet.
    Waiting(Guest),
    Linked(Box<Link>),
    Refused(Refusal),
}

impl Guest {
    /// Begins the handshake of an accepted client, which has as long as `options` say.
    pub(crate) fn new(client: Client, options: &Options) -> Self {
        let deadline = options.client_deadline(Deadline::never());
        Self { socket: client.into_socket(), deadline, stage: Stage::Arrived }
    }

    /// When the guest's time is up.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Takes the step that what has been heard allows. `terms` turns a wish for ring sizes into an offer; it is asked
    /// once.
    ///
    /// # Errors
    ///
    /// [`ListenError`] only for what is wrong on this side; the guest is gone then as well, and has been told.
    pub(crate) fn step(
        self,
        path: &Path,
        standard: &Offer,
        options: &Options,
        terms: impl FnOnce(&Wishes) -> Result<Offer, Refusal>,
    ) -> Result<Progress, ListenError> {
        let Self { socket, deadline, stage } = self;
        let conversation = |socket| Conversation { socket, deadline: Deadline::after(Duration::ZERO), interrupt: None };
        let heard = match listen_in(&conversation(&socket)) {
            Some(heard) => heard,
            None if deadline.has_passed() => Err(Break::Stopped(Stop::TimedOut)),
            None => return Ok(Progress::Waiting(Self { socket, deadline, stage })),
        };
        let admission = Admission { conversation: conversation(&socket), path, offer: standard, options };
        let failure = match (heard.map_err(|why| admission.broken(why)), stage) {
            (Ok(hello), Stage::Arrived) => {
                // The client's time stands still while its rings are made.
                let left = deadline.remaining();
                match greet(&admission, &hello, terms) {
                    Ok(stage) => {
                        return Ok(Progress::Waiting(Self { socket, deadline: Deadline::from(left), stage }));
                    }
                    Err(failure) => failure,
                }
            }
            (Ok(ready), Stage::Welcomed { who, role, rings }) => match wire::read_ready(ready.bytes()) {
                Ok(()) => {
                    let peer = Peer::new(socket, who.pidfd, who.pid, who.uid);
                    let link = Link { role, side: Side::Listener, rings, peer };
                    return Ok(Progress::Linked(Box::new(link)));
                }
                Err(error) => refused(error),
            },
            (Err(failure), _) => failure,
        };
        match failure {
            Failure::Refused(why) => {
                admission.turn_away(&why);
                Ok(Progress::Refused(why))
            }
            Failure::Ours(error) => {
                admission.reject(wire::Code::Other, 0, "the server failed; see its own error");
                Err(error)
            }
        }
    }
}

/// The next message, `None` while there is none.
fn listen_in(conversation: &Conversation<'_>) -> Option<Result<Message, Break>> {
    match conversation.hear(false) {
        Err(Break::Stopped(Stop::TimedOut)) => None,
        heard => Some(heard),
    }
}

/// From hello to welcome.
fn greet(
    admission: &Admission<'_>,
    hello: &Message,
    terms: impl FnOnce(&Wishes) -> Result<Offer, Refusal>,
) -> Result<Stage, Failure> {
    let who = admission.identify()?;
    admission.check_user(&who)?;
    let hello = wire::read_hello(hello.bytes()).map_err(refused)?;
    let role = admission.settle(hello)?;
    let offer = terms(&hello.wishes).map_err(Failure::Refused)?;
    let rings = Admission { offer: &offer, ..*admission }.welcome(role)?;
    Ok(Stage::Welcomed { who, role, rings })
}

impl AsFd for Guest {
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
    fn the_time_in_which_its_rings_are_made_is_not_the_clients() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let say = |bytes: &[u8]| rustix::net::send(&theirs, bytes, SendFlags::empty()).unwrap();
        let hello = Hello { kind: Kind::Rpc, role: Role::Source, wishes: [None; 2], time_namespace: 0 };
        say(wire::write_hello(hello).as_ref());
        let patience = Duration::from_millis(200);
        let options = Options::new().handshake_timeout(patience);
        let offer =
            Offer { kind: Kind::Rpc, role: Role::Sink, geometries: vec![Geometry::new(4096, Use::Calls).unwrap(); 2] };
        let guest = Guest::new(Client::new(Socket::accepted(ours, false)), &options);
        let slowly = |_: &Wishes| {
            std::thread::sleep(patience * 2);
            Ok(offer.clone())
        };
        let Ok(Progress::Waiting(guest)) = guest.step(Path::new("test"), &offer, &options, slowly) else {
            panic!("a correct hello")
        };
        assert!(!guest.deadline().has_passed());
        say(wire::write_ready().as_ref());
        let linked = guest.step(Path::new("test"), &offer, &options, |_| unreachable!("asked once"));
        assert!(matches!(linked, Ok(Progress::Linked(_))), "{linked:?}");
    }
}
