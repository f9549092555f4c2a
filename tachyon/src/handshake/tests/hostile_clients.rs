//! Clients that a listener has to survive.

use super::*;

/// Handshake timeout: short, because these tests wait for it, and far longer than the handshake of a correct client on
/// a busy machine.
const FOR_ONE: Duration = Duration::from_millis(300);

fn hello(kind: Kind, role: Role) -> Vec<u8> {
    hello_from(kind, role, namespace::time_namespace())
}

fn hello_from(kind: Kind, role: Role, time_namespace: u64) -> Vec<u8> {
    wire::write_hello(wire::Hello { kind, role, probe: false, wishes: [None; 2], time_namespace }).to_vec()
}

/// Runs `misbehave` against a listener with a short handshake timeout, then expects it to serve a correct client; with
/// refused descriptors, and as before Linux 6.16.
fn survives(misbehave: impl Fn(&Path)) {
    on_both(|_| survives_here(&misbehave));
}

/// As [`survives`], on the present kind of system.
fn survives_here(misbehave: impl FnOnce(&Path)) {
    let place = Place::new();
    let options = patient().handshake_timeout(FOR_ONE);
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options);
    misbehave(&place.path);
    let _client = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
    let pairing = server.join().unwrap().unwrap();
    assert!(!pairing.peer.is_gone());
}

#[test]
fn garbage_is_rejected_with_a_reason() {
    for (garbage, word) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), "magic"),
        (vec![0; 3], "3 bytes"),
        (vec![b'x'; 4000], "too long"),
        (hello(Kind::Bus, Role::Source)[..12].to_vec(), "12 bytes"),
    ] {
        survives(|path| {
            let client = Raw::connect(path);
            client.send(&garbage, &[]);
            let reject = client.receive_reject();
            assert_eq!(reject.code, wire::Code::Other);
            assert!(reject.text.contains(word), "{}", reject.text);
        });
    }
}

#[test]
fn another_version_gets_this_version() {
    survives(|path| {
        let client = Raw::connect(path);
        let mut hello = hello(Kind::Bus, Role::Source);
        hello[4] = 9;
        client.send(&hello, &[]);
        let reject = client.receive_reject();
        assert_eq!((reject.code, reject.version), (wire::Code::Version, wire::PROTOCOL_VERSION));
    });
}

#[test]
fn a_silent_client_is_dropped() {
    survives(|path| {
        let client = Raw::connect(path);
        let (reject, waited) = took(|| client.receive_reject());
        assert!(reject.text.contains("in time"), "{}", reject.text);
        assert!(waited >= FOR_ONE.mul_f32(0.9), "{waited:?}");
    });
}

#[test]
fn clients_that_leave_half_way_are_forgotten() {
    survives(|path| drop(Raw::connect(path)));
    survives(|path| Raw::connect(path).send(hello(Kind::Bus, Role::Source), &[]));
    survives(|path| {
        let client = Raw::connect(path);
        client.send(hello(Kind::Bus, Role::Source), &[]);
        assert_eq!(client.receive().unwrap().descriptors.len(), 1);
    });
}

#[test]
fn a_welcomed_client_that_never_gets_ready_is_dropped() {
    survives(|path| {
        let client = Raw::connect(path);
        client.send(hello(Kind::Bus, Role::Source), &[]);
        client.receive().unwrap();
        assert_eq!(client.receive_reject().code, wire::Code::Other);
    });
    survives(|path| {
        let client = Raw::connect(path);
        client.send(hello(Kind::Bus, Role::Source), &[]);
        client.receive().unwrap();
        client.send(hello(Kind::Bus, Role::Source), &[]);
        assert!(client.receive_reject().text.contains("tag 1"));
    });
}

#[test]
fn a_client_of_another_time_namespace_gets_a_reject() {
    let ours = namespace::time_namespace();
    for (theirs, refused) in [(ours, false), (0, false), (ours ^ 1, ours != 0)] {
        survives(|path| {
            let client = Raw::connect(path);
            client.send(hello_from(Kind::Bus, Role::Source, theirs), &[]);
            if refused {
                assert_eq!(client.receive_reject().code, wire::Code::OtherTimeNamespace);
            } else {
                assert_eq!(
                    client.receive().unwrap().descriptors.len(),
                    1,
                    "{theirs} is not known to differ from {ours}"
                );
            }
        });
    }
}

/// A client passes descriptors with its hello, or with its ready message. The close of one descriptor takes seconds.
fn descriptors_are_kept_out(peeks: bool, welcomed: bool) {
    let place = Place::new();
    let options = patient().handshake_timeout(FOR_ONE);
    let listener = Listener::bind(&place.path, &options).unwrap();
    let (reader, writer) = pipe();
    let (lingers, other) = lingering();
    // All messages are sent before the client is accepted, so that the listener has the last copies.
    let client = Raw::connect(&place.path);
    let mut message = hello(Kind::Bus, Role::Source);
    if welcomed {
        client.send(&message, &[]);
        message = wire::write_ready().to_vec();
    }
    let passed = client.pass(message, &[writer.as_fd(), lingers.as_fd()]);
    drop(writer);
    let other = if peeks {
        assert_eq!(passed, Ok(()));
        Some(other)
    } else {
        assert_eq!(passed, Err(Errno::PERM), "the system refuses the descriptors to the sender");
        // Nothing lingers whose other end is gone.
        drop(other);
        None
    };
    drop(lingers);
    let path = place.path.clone();
    let good = thread::spawn(move || connect(&path, Kind::Bus, Role::Source, &patient()).unwrap());
    let offer = offer(Kind::Bus, Role::Sink);
    let (pairing, waited) = took(|| listener.accept(&offer, &options, Deadline::after(PATIENCE)).unwrap());
    let good = good.join().unwrap();
    assert!(!pairing.peer.is_gone() && !good.peer.is_gone());
    assert!(waited < AT_ONCE, "{waited:?}");
    if welcomed {
        client.receive().unwrap();
    }
    // A refused message never arrives, and a silent client does not block others.
    if peeks || welcomed {
        let word = if peeks { "descriptors" } else { "in time" };
        let reject = client.receive_reject();
        assert!(reject.text.contains(word), "{}", reject.text);
    } else {
        assert!(matches!(client.receive(), Err(ConversationError::Closed | ConversationError::Reset)));
    }
    drop(other);
    assert_closes(&reader);
    assert_eq!(holders(reader.as_fd()), 1, "only the test has one");
}

#[test]
fn descriptors_from_a_client_never_enter_and_hold_nothing_up() {
    on_both(|peeks| {
        descriptors_are_kept_out(peeks, false);
        descriptors_are_kept_out(peeks, true);
    });
}

#[test]
fn a_queue_of_bad_clients_does_not_outlive_the_deadline() {
    let place = Place::new();
    let options = Options::new().timeout(Duration::from_millis(150)).handshake_timeout(PATIENCE);
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options);
    let clients: Vec<_> = (0..20).map(|_| Raw::connect(&place.path)).collect();
    let (error, waited) = took(|| server.join().unwrap().unwrap_err());
    assert!(matches!(error, ListenError::TimedOut { rejected: 20, last: Some(Rejection::Silent), .. }), "{error}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    drop(clients);
}

#[test]
fn silent_clients_do_not_block_others() {
    let place = Place::new();
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), patient().handshake_timeout(PATIENCE));
    let silent: Vec<_> = (0..20).map(|_| Raw::connect(&place.path)).collect();
    let (_client, waited) = took(|| connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap());
    assert!(waited < PATIENCE / 2, "{waited:?}");
    assert!(!server.join().unwrap().unwrap().peer.is_gone());
    drop(silent);
}

#[test]
fn a_client_that_does_not_confirm_lets_the_next_one_in() {
    survives(|path| {
        let first = Raw::connect(path);
        first.send(hello(Kind::Bus, Role::Source), &[]);
        std::mem::forget(first);
    });
}

#[test]
fn many_clients_at_once_leave_no_descriptor_behind() {
    let place = Place::new();
    let options = patient().handshake_timeout(Duration::from_millis(50));
    let listener = Listener::bind(&place.path, &options).unwrap();
    let bad: Vec<_> = (0..30)
        .map(|turn| {
            let client = Raw::connect(&place.path);
            if turn % 2 == 0 {
                client.send(hello(Kind::Rpc, Role::Source), &[]);
            } else {
                client.send([turn; 5], &[]);
            }
            client
        })
        .collect();
    for _ in 0..bad.len() {
        let client = listener.try_accept().unwrap().unwrap();
        let client = PendingClient::new(client, &options, Deadline::never()).unwrap().unwrap();
        let offer = offer(Kind::Bus, Role::Sink);
        let progress = client.step(&place.path, &offer, &options, |_, _| Ok(offer.clone()));
        assert!(matches!(progress.unwrap(), Progress::Rejected(_)));
    }
    assert!(listener.try_accept().unwrap().is_none());
    for client in bad {
        client.receive_reject();
    }
}
