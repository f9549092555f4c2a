//! Listeners a connector has to survive.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::barrier::Barrier;
use crate::handshake::connector::fuzz::converse;

/// The error of a connector whose hello is answered by `act`.
fn outcome(act: impl FnOnce(&Raw) + Send + 'static) -> ConnectError {
    outcome_with(&patient(), act)
}

fn outcome_with(options: &Options, act: impl FnOnce(&Raw) + Send + 'static) -> ConnectError {
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        assert_eq!(
            client.hear().unwrap().bytes(),
            wire::write_hello(wire::Hello { kind: Kind::Bus, role: Role::Source, wishes: [None; 2], barrier: true })
        );
        act(&client);
        // Whatever it was: nothing good comes from the connector, and it goes.
        assert!(matches!(client.hear(), Err(Break::Closed | Break::Reset)));
    });
    let error = connect(&place.path, Kind::Bus, Role::Source, options).unwrap_err();
    listener.join().unwrap();
    error
}

fn welcome() -> Vec<u8> {
    wire::write_welcome(&offer(Kind::Bus, Role::Sink), Role::Sink, Barrier::System).to_vec()
}

/// What a correct listener would send, to be spoilt.
fn parts() -> [OwnedFd; 3] {
    let (_memory, segment) = RingMemory::create(offer(Kind::Bus, Role::Sink).geometries[0]).unwrap();
    [segment, bell(), bell()]
}

fn bell() -> OwnedFd {
    let (_ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    theirs
}

fn send(client: &Raw, descriptors: &[OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    client.say(welcome(), &descriptors);
}

fn protocol(error: ConnectError) -> ProtocolError {
    match error {
        ConnectError::Protocol { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn the_unspoilt_answer_is_good() {
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        client.hear().unwrap();
        send(&client, &parts());
        wire::read_ready(client.hear().unwrap().bytes()).unwrap();
        client
    });
    let link = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
    let client = listener.join().unwrap();
    assert!(!link.peer.is_gone());
    drop(client);
    assert_goes(&link.peer);
}

#[test]
fn a_barrier_that_was_not_offered_is_not_for_a_listener_to_count_on() {
    for (offered, settled, accepted) in [
        (false, Barrier::System, false),
        (false, Barrier::Fences, true),
        (true, Barrier::System, true),
        (true, Barrier::Fences, true),
    ] {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let descriptors = parts();
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let listener = Raw(theirs);
        listener.say(wire::write_welcome(&offer(Kind::Bus, Role::Sink), Role::Sink, settled), &descriptors);
        let hello = wire::Hello { kind: Kind::Bus, role: Role::Source, wishes: [None; 2], barrier: offered };
        match converse(ours, hello) {
            Ok(link) => assert!(accepted && link.rings[0].memory.barrier() == settled),
            Err(error) => assert!(!accepted && matches!(protocol(error), ProtocolError::Reserved)),
        }
    }
}

#[test]
fn silence_ends_with_the_timeout() {
    let (error, waited) = took(|| outcome_with(&Options::new().timeout(Duration::from_millis(150)), |_| {}));
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    assert!(waited >= Duration::from_millis(150) && waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn a_hang_up_is_told_from_silence() {
    let place = Place::new();
    let listener = impostor(&place.path, |client| drop(client.hear().unwrap()));
    let error = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap_err();
    assert!(matches!(error, ConnectError::Closed { .. }), "{error}");
    listener.join().unwrap();
}

#[test]
fn a_reason_given_before_the_hello_was_read_is_heard() {
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        // The hello is in the socket unread when it closes, which the kernel reports before the words sent.
        wait_until(&client.0, PollFlags::IN, Deadline::after(PATIENCE), None).unwrap();
        client.say(wire::write_reject(wire::Code::NotAllowed, 0, "no"), &[]);
    });
    let error = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap_err();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error}");
    listener.join().unwrap();
}

#[test]
fn every_refusal_has_its_error() {
    let refuse = |code, detail| outcome(move |client| client.say(wire::write_reject(code, detail, "words"), &[]));
    assert!(matches!(refuse(wire::Code::Busy, 0), ConnectError::Busy { .. }));
    assert!(matches!(refuse(wire::Code::NotAllowed, 0), ConnectError::NotAllowed { .. }));
    assert!(matches!(refuse(wire::Code::RoleClash, 1), ConnectError::RoleClash { role: "sender", .. }));
    assert!(matches!(refuse(wire::Code::WrongKind, 2), ConnectError::WrongKind { theirs: "RPC bus", .. }));
    let odd = refuse(wire::Code::WrongKind, 77);
    assert!(matches!(odd, ConnectError::WrongKind { theirs: "connection of an unknown kind", .. }), "{odd}");
    let error = refuse(wire::Code::Other, 0);
    assert!(matches!(&error, ConnectError::Rejected { text, .. } if text == "words"), "{error}");
}

#[test]
fn versions_that_differ_are_both_named() {
    let error = outcome(|client| {
        let mut reject = wire::write_reject(wire::Code::Version, 0, "");
        reject[4] = 8;
        client.say(reject, &[]);
    });
    assert!(matches!(error, ConnectError::VersionMismatch { ours: 1, theirs: 8, .. }), "{error}");
    let error = outcome(|client| {
        let mut welcome = welcome();
        welcome[4] = 8;
        client.say(welcome, &[]);
    });
    assert!(matches!(error, ConnectError::VersionMismatch { ours: 1, theirs: 8, .. }), "{error}");
}

#[test]
fn garbage_is_named() {
    let error = protocol(outcome(|client| client.say(b"220 mail.example ESMTP\r\n", &[])));
    assert!(matches!(error, ProtocolError::Magic { .. }), "{error}");
    let error = protocol(outcome(|client| client.say([7; 1000], &[])));
    assert!(matches!(error, ProtocolError::Oversized), "{error}");
    let error = protocol(outcome(|client| client.say(wire::write_ready(), &[])));
    assert!(matches!(error, ProtocolError::Tag { .. }), "{error}");
}

#[test]
fn a_role_that_does_not_fit_is_refused() {
    for role in [Role::Source, Role::Either] {
        let error = protocol(outcome(move |client| {
            let parts = parts();
            let welcome = wire::write_welcome(&offer(Kind::Bus, Role::Sink), role, Barrier::System);
            client.say(welcome, &[parts[0].as_fd(), parts[1].as_fd(), parts[2].as_fd()]);
        }));
        assert!(matches!(error, ProtocolError::Role { found } if found == role as u8), "{error}");
    }
}

#[test]
fn the_number_of_descriptors_must_be_right() {
    for count in [0, 1, 2, 4, 6] {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let error = protocol(outcome(move |client| client.say(welcome(), &vec![writer.as_fd(); count])));
        assert!(matches!(error, ProtocolError::DescriptorCount { expected: 3, found } if found == count), "{error}");
        assert_eq!(holders(reader.as_fd()), 1, "the others are closed");
    }
}

#[test]
fn more_descriptors_than_any_message_has_are_refused() {
    let error = protocol(outcome(|client| {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let bell = bell();
        let many = [bell.as_fd(); 60];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(60))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        let welcome = welcome();
        sendmsg(&client.0, &[std::io::IoSlice::new(&welcome)], &mut control, SendFlags::empty()).unwrap();
    }));
    assert!(matches!(error, ProtocolError::DescriptorsLost), "{error}");
}

#[test]
fn memory_that_could_be_resized_is_not_mapped() {
    let error = protocol(outcome(|client| {
        let [_, data, room] = parts();
        let len = offer(Kind::Bus, Role::Sink).geometries[0].segment_len() as u64;
        let memory = rustix::fs::memfd_create(c"bad", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, len).unwrap();
        send(client, &[memory, data, room]);
    }));
    assert!(matches!(error, ProtocolError::Segment(crate::shm::ShmError::NotSealed { .. })), "{error}");
}

#[test]
fn memory_of_another_length_is_not_mapped() {
    let error = protocol(outcome(|client| {
        let [_, data, room] = parts();
        let memory = rustix::fs::memfd_create(c"bad", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, 4096).unwrap();
        rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
        send(client, &[memory, data, room]);
    }));
    let ProtocolError::Segment(crate::shm::ShmError::WrongLength { found: 4096, .. }) = error else {
        panic!("{error}")
    };
}

#[test]
fn memory_that_holds_no_ring_is_refused() {
    let error = protocol(outcome(|client| {
        let [_, data, room] = parts();
        let len = offer(Kind::Bus, Role::Sink).geometries[0].segment_len();
        let (_segment, memory) = crate::shm::Segment::create(len).unwrap();
        send(client, &[memory, data, room]);
    }));
    let ProtocolError::Segment(crate::shm::ShmError::NotARing { magic: 0, .. }) = error else { panic!("{error}") };
}

#[test]
fn a_doorbell_must_be_a_socket_of_a_pair() {
    for position in [1, 2] {
        let error = protocol(outcome(move |client| {
            let (_reader, writer) = rustix::pipe::pipe().unwrap();
            let mut parts = parts();
            parts[position] = writer;
            send(client, &parts);
        }));
        assert!(matches!(error, ProtocolError::Doorbell(_)), "{error}");
    }
    let error = protocol(outcome(|client| send(client, &[bell(), bell(), bell()])));
    let ProtocolError::Segment(crate::shm::ShmError::NotSharedMemory { .. }) = error else { panic!("{error}") };
}

#[test]
fn an_interrupt_ends_the_wait_for_an_answer() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        client.hear().unwrap();
        assert!(matches!(client.hear(), Err(Break::Closed | Break::Reset)));
    });
    let options = patient().interrupt(|| ASKED.fetch_add(1, Ordering::Relaxed) >= 2);
    let error = connect(&place.path, Kind::Bus, Role::Source, &options).unwrap_err();
    assert!(matches!(error, ConnectError::Interrupted { .. }), "{error}");
    listener.join().unwrap();
}
