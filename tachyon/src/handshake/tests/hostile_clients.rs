//! Clients a listener has to survive.

use super::*;

fn hello(kind: Kind, role: Role) -> Vec<u8> {
    wire::write_hello(wire::Hello { kind, role, wishes: [None; 2], barrier: true }).to_vec()
}

/// Lets `misbehave` at a listener with a short patience for clients, then expects a good client to be served.
fn survives(misbehave: impl FnOnce(&Path)) {
    let place = Place::new();
    let options = patient().handshake_timeout(Duration::from_millis(100));
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options);
    misbehave(&place.path);
    let _client = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
    let link = server.join().unwrap().unwrap();
    assert!(!link.peer.is_gone());
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
            client.say(&garbage, &[]);
            let reject = client.hear_reject();
            assert_eq!(reject.code, wire::Code::Other);
            assert!(reject.text.contains(word), "{}", reject.text);
        });
    }
}

#[test]
fn another_version_is_told_ours() {
    survives(|path| {
        let client = Raw::connect(path);
        let mut hello = hello(Kind::Bus, Role::Source);
        hello[4] = 9;
        client.say(&hello, &[]);
        let reject = client.hear_reject();
        assert_eq!((reject.code, reject.version), (wire::Code::Version, wire::PROTOCOL_VERSION));
    });
}

#[test]
fn a_silent_client_is_dropped() {
    survives(|path| {
        let client = Raw::connect(path);
        let (reject, waited) = took(|| client.hear_reject());
        assert!(reject.text.contains("in time"), "{}", reject.text);
        assert!(waited >= Duration::from_millis(90), "{waited:?}");
    });
}

#[test]
fn clients_that_leave_half_way_are_forgotten() {
    survives(|path| drop(Raw::connect(path)));
    survives(|path| Raw::connect(path).say(hello(Kind::Bus, Role::Source), &[]));
    survives(|path| {
        let client = Raw::connect(path);
        client.say(hello(Kind::Bus, Role::Source), &[]);
        assert_eq!(client.hear().unwrap().descriptors.len(), 3);
    });
}

#[test]
fn a_welcomed_client_that_never_gets_ready_is_dropped() {
    survives(|path| {
        let client = Raw::connect(path);
        client.say(hello(Kind::Bus, Role::Source), &[]);
        client.hear().unwrap();
        assert_eq!(client.hear_reject().code, wire::Code::Other);
    });
    survives(|path| {
        let client = Raw::connect(path);
        client.say(hello(Kind::Bus, Role::Source), &[]);
        client.hear().unwrap();
        client.say(hello(Kind::Bus, Role::Source), &[]);
        assert!(client.hear_reject().text.contains("tag 1"));
    });
}

#[test]
fn descriptors_from_a_client_never_enter() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    survives(|path| {
        let client = Raw::connect(path);
        client.say(hello(Kind::Bus, Role::Source), &[writer.as_fd()]);
        assert!(client.hear_reject().text.contains("descriptors"));
        // Both ends of a pipe are one inode; these are the test's own two.
        assert_eq!(holders(reader.as_fd()), 2);
    });
}

#[test]
fn a_queue_of_bad_clients_does_not_outlive_the_deadline() {
    let place = Place::new();
    let options = Options::new().timeout(Duration::from_millis(150)).handshake_timeout(PATIENCE);
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), options);
    let clients: Vec<_> = (0..20).map(|_| Raw::connect(&place.path)).collect();
    let (error, waited) = took(|| server.join().unwrap().unwrap_err());
    assert!(matches!(error, ListenError::TimedOut { refused: 1, last: Some(Refusal::Silent), .. }), "{error}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    drop(clients);
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
                client.say(hello(Kind::Rpc, Role::Source), &[]);
            } else {
                client.say([turn; 5], &[]);
            }
            client
        })
        .collect();
    for _ in 0..bad.len() {
        let client = listener.try_accept().unwrap().unwrap();
        let outcome = client.handshake(&place.path, &offer(Kind::Bus, Role::Sink), &options, Deadline::never());
        assert!(matches!(outcome.unwrap(), admission::Outcome::Refused(_)));
    }
    assert!(listener.try_accept().unwrap().is_none());
    for client in bad {
        client.hear_reject();
    }
}
