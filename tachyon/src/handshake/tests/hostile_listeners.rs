//! Listeners that a connector has to survive.

use rustix::fs::{MemfdFlags, SealFlags};

use super::*;
use crate::ring::Fault;
use crate::shm::ShmError;
use crate::sync::Ordering;

/// The error of a connector whose hello is answered by `act`.
fn outcome(act: impl FnOnce(&Raw) + Send + 'static) -> ConnectError {
    outcome_with(&patient(), act)
}

fn outcome_with(options: &Options, act: impl FnOnce(&Raw) + Send + 'static) -> ConnectError {
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        assert_eq!(client.receive().unwrap().bytes(), wire::write_hello(hello()));
        act(&client);
        // The connector sends no ready message, and hangs up.
        assert!(matches!(client.receive(), Err(ConversationError::Closed | ConversationError::Reset)));
    });
    let error = connect(&place.path, Kind::Bus, Role::Source, options).unwrap_err();
    listener.join().unwrap();
    error
}

fn hello() -> wire::Hello {
    let time_namespace = namespace::time_namespace();
    wire::Hello { kind: Kind::Bus, role: Role::Source, probe: false, wishes: [None; 2], time_namespace }
}

fn welcome() -> Vec<u8> {
    wire::write_welcome(&offer(Kind::Bus, Role::Sink), Role::Sink).to_vec()
}

fn geometry() -> Geometry {
    offer(Kind::Bus, Role::Sink).geometries[0]
}

/// A descriptor as of a correct listener.
fn segment() -> OwnedFd {
    RingMemory::create(geometry()).unwrap().1
}

/// The connector's error after a welcome with another descriptor.
fn verdict(memory: OwnedFd) -> ProtocolError {
    protocol(outcome(move |client| client.send(welcome(), &[memory.as_fd()])))
}

fn protocol(error: ConnectError) -> ProtocolError {
    match error {
        ConnectError::Protocol { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn the_unspoilt_answer_is_good() {
    on_both(|_| {
        let place = Place::new();
        let listener = impostor(&place.path, |client| {
            client.receive().unwrap();
            client.send(welcome(), &[segment().as_fd()]);
            wire::read_ready(client.receive().unwrap().bytes()).unwrap();
            client
        });
        let pairing = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
        let client = listener.join().unwrap();
        assert!(!pairing.peer.is_gone());
        drop(client);
        assert_goes(&pairing.peer);
    });
}

#[test]
fn nothing_comes_with_or_behind_the_welcome() {
    on_both(|_| {
        for passes in [false, true] {
            let (listener, ours) = raw_pair();
            let (lingers, other) = lingering();
            listener.send(welcome(), &[segment().as_fd()]);
            // As early as a ring message can come.
            let behind = [0; 8];
            let carried = [lingers.as_fd()];
            listener.send(behind, if passes { &carried } else { &[] });
            let other = passes.then_some(other);
            drop(lingers);
            let (outcome, waited) = took(|| Connecting::handshake_over(Socket::connecting(ours), hello()));
            let error = protocol(outcome.unwrap_err());
            assert!(matches!(error, ProtocolError::Surplus), "{error}");
            assert!(waited < AT_ONCE, "{waited:?}");
            assert_eq!(listener.receive().unwrap().bytes(), wire::write_hello(hello()));
            assert!(
                matches!(listener.receive(), Err(ConversationError::Closed | ConversationError::Reset)),
                "the connector sends no ready message"
            );
            drop(other);
        }
    });
}

#[test]
fn once_it_is_ready_a_listener_can_pass_nothing_more() {
    on_both(|peeks| {
        let (listener, ours) = raw_pair();
        listener.send(welcome(), &[segment().as_fd()]);
        let pairing = Connecting::handshake_over(Socket::connecting(ours), hello()).unwrap();
        let (reader, writer) = pipe();
        let passed = listener.pass([0; 8], &[writer.as_fd()]);
        drop(writer);
        if peeks {
            passed.unwrap();
            assert!(matches!(pairing.peer.hear(), Err(Fault::Socket { descriptors: true, .. })));
        } else {
            assert_eq!(passed, Err(Errno::PERM));
            assert!(!pairing.peer.hear().unwrap().rang);
        }
        drop(pairing);
        assert_closes(&reader);
    });
}

#[test]
fn silence_ends_with_the_timeout() {
    let (error, waited) = took(|| outcome_with(&Options::new().timeout(Duration::from_millis(150)), |_| {}));
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    assert!(waited >= Duration::from_millis(150) && waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn a_hang_up_differs_from_silence() {
    let place = Place::new();
    let listener = impostor(&place.path, |client| drop(client.receive().unwrap()));
    let error = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap_err();
    assert!(matches!(error, ConnectError::Closed { .. }), "{error}");
    listener.join().unwrap();
}

#[test]
fn a_reject_before_the_hello_is_read_arrives() {
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        // The socket closes with an unread hello, and the kernel reports that before it delivers the reject.
        wait_until(&client.0, PollFlags::IN, Deadline::after(PATIENCE), None).unwrap();
        client.send(wire::write_reject(wire::Code::NotAllowed, 0, "no"), &[]);
    });
    let error = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap_err();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error}");
    listener.join().unwrap();
}

#[test]
fn every_reject_has_its_error() {
    let refuse = |code, detail| outcome(move |client| client.send(wire::write_reject(code, detail, "words"), &[]));
    assert!(matches!(refuse(wire::Code::Busy, 0), ConnectError::Busy { .. }));
    assert!(matches!(refuse(wire::Code::NotAllowed, 0), ConnectError::NotAllowed { .. }));
    assert!(matches!(refuse(wire::Code::OtherTimeNamespace, 0), ConnectError::OtherTimeNamespace { .. }));
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
        client.send(reject, &[]);
    });
    assert!(matches!(error, ConnectError::VersionMismatch { ours: 2, theirs: 8, .. }), "{error}");
    let error = outcome(|client| {
        let mut welcome = welcome();
        welcome[4] = 8;
        client.send(welcome, &[]);
    });
    assert!(matches!(error, ConnectError::VersionMismatch { ours: 2, theirs: 8, .. }), "{error}");
}

#[test]
fn garbage_is_named() {
    let error = protocol(outcome(|client| client.send(b"220 mail.example ESMTP\r\n", &[])));
    assert!(matches!(error, ProtocolError::Magic { .. }), "{error}");
    let error = protocol(outcome(|client| client.send([7; 1000], &[])));
    assert!(matches!(error, ProtocolError::Oversized), "{error}");
    let error = protocol(outcome(|client| client.send(wire::write_ready(), &[])));
    assert!(matches!(error, ProtocolError::Tag { .. }), "{error}");
}

#[test]
fn a_role_that_does_not_fit_is_refused() {
    for role in [Role::Source, Role::Either] {
        let error = protocol(outcome(move |client| {
            let welcome = wire::write_welcome(&offer(Kind::Bus, Role::Sink), role);
            client.send(welcome, &[segment().as_fd()]);
        }));
        assert!(matches!(error, ProtocolError::Role { found } if found == role as u8), "{error}");
    }
}

#[test]
fn the_number_of_descriptors_must_be_right() {
    for count in [0, 2, 4, 8] {
        let segment = segment();
        let copy = segment.try_clone().unwrap();
        let error = protocol(outcome(move |client| client.pass(welcome(), &vec![copy.as_fd(); count]).unwrap()));
        assert!(matches!(error, ProtocolError::DescriptorCount { expected: 1, found } if found == count), "{error}");
        assert_eq!(holders(segment.as_fd()), 1, "the others are closed");
    }
}

#[test]
fn more_descriptors_than_any_message_has_are_left_to_the_reaper() {
    for count in [20, MOST_DESCRIPTORS] {
        let (reader, writer) = pipe();
        let error = protocol(outcome(move |client| {
            client.pass(welcome(), &vec![writer.as_fd(); count]).unwrap();
            drop(writer);
        }));
        assert!(matches!(error, ProtocolError::TooManyDescriptors), "{error}");
        assert_closes(&reader);
    }
}

#[test]
fn descriptors_that_are_no_memory_files_are_refused_and_hold_nothing_up() {
    on_both(|_| {
        // Fewer than the reaper holds, because other tests run at the same time.
        for count in [0, 1, 5] {
            let (reader, writer) = pipe();
            let (lingers, other) = lingering();
            let (listener, ours) = raw_pair();
            let segment = segment();
            let mut carried = vec![writer.as_fd(); count];
            carried.extend([segment.as_fd(), lingers.as_fd()]);
            listener.pass(welcome(), &carried).unwrap();
            // The message has the last copies.
            drop((writer, lingers));
            let (outcome, waited) = took(|| Connecting::handshake_over(Socket::connecting(ours), hello()));
            let error = protocol(outcome.unwrap_err());
            assert!(matches!(error, ProtocolError::DescriptorKind), "{error}");
            assert!(waited < AT_ONCE, "{waited:?}");
            drop(other);
            assert_closes(&reader);
            assert_eq!(holders(segment.as_fd()), 1, "the others are closed");
        }
    });
}

#[test]
fn memory_that_could_be_resized_is_not_mapped() {
    let memory = rustix::fs::memfd_create(c"bad", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&memory, geometry().segment_len() as u64).unwrap();
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::NotSealed { .. })), "{error}");
}

#[test]
fn memory_of_another_length_is_not_mapped() {
    let memory = rustix::fs::memfd_create(c"bad", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&memory, 4096).unwrap();
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::WrongLength { found: 4096, .. })), "{error}");
}

#[test]
fn memory_of_huge_pages_is_not_mapped() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    // Without huge pages there is no such memory.
    let Ok(memory) = rustix::fs::memfd_create(c"bad", flags) else { return };
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::NotSharedMemory { .. })), "{error}");
}

#[test]
fn memory_that_holds_no_ring_or_another_is_refused() {
    let (_segment, memory) = crate::shm::Segment::create(geometry().segment_len()).unwrap();
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::NotARing { magic: 0, .. })), "{error}");
    let (ring, memory) = RingMemory::create(geometry()).unwrap();
    ring.header().identity.0.capacity.store(1 << 13, Ordering::Relaxed);
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::NotARing { capacity: 8192, .. })), "{error}");
    let (ring, memory) = RingMemory::create(geometry()).unwrap();
    ring.header().identity.0.stride.store(256, Ordering::Relaxed);
    let error = verdict(memory);
    assert!(matches!(error, ProtocolError::Segment(ShmError::NotARing { stride: 256, .. })), "{error}");
}

#[test]
fn an_interrupt_ends_the_wait_for_an_answer() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let place = Place::new();
    let listener = impostor(&place.path, |client| {
        client.receive().unwrap();
        assert!(matches!(client.receive(), Err(ConversationError::Closed | ConversationError::Reset)));
    });
    let options = patient().interrupt(|| ASKED.fetch_add(1, Ordering::Relaxed) >= 2);
    let error = connect(&place.path, Kind::Bus, Role::Source, &options).unwrap_err();
    assert!(matches!(error, ConnectError::Interrupted { .. }), "{error}");
    listener.join().unwrap();
}
