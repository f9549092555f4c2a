//! The handshake of two correct sides.

use super::*;

fn pair(theirs: (Kind, Role), ours: (Kind, Role)) -> (Result<Pairing, ListenError>, Result<Pairing, ConnectError>) {
    let place = Place::new();
    // After a rejected client the listener waits on, so its timeout ends these tests.
    let server = serve(&place.path, offer(theirs.0, theirs.1), Options::new().timeout(Duration::from_millis(300)));
    let client = connect(&place.path, ours.0, ours.1, &patient());
    let server = server.join().unwrap();
    assert_eq!(place.contents(), [""; 0], "the socket file is gone afterwards");
    (server, client)
}

#[test]
fn both_sides_share_memory_and_hear_each_other() {
    on_both(|_| {
        for kind in [Kind::Bus, Kind::Rpc] {
            let (server, client) = pair((kind, Role::Sink), (kind, Role::Source));
            let (server, client) = (server.unwrap(), client.unwrap());
            assert_eq!((server.role, server.side), (Role::Sink, Side::Listener));
            assert_eq!((client.role, client.side), (Role::Source, Side::Connector));
            assert_eq!((server.rings.len(), client.rings.len()), (kind.rings(), kind.rings()));
            for (index, (one, other)) in server.rings.iter().zip(&client.rings).enumerate() {
                assert_eq!(one.geometry(), Geometry::new(1 << (12 + index), kind.carries()).unwrap());
                assert_eq!(one.geometry(), other.geometry());
                let (here, there) = (one.segment(), other.segment());
                assert_eq!(here.len(), there.len());
                let mark = u8::try_from(index).unwrap() + 1;
                here.poke(5000, mark);
                assert_eq!(there.peek(5000), mark, "rings are not mixed up");
            }
            for (peer, ringer) in [(&server.peer, &client.peer), (&client.peer, &server.peer)] {
                assert!(!peer.hear().unwrap().rang, "no message of the handshake is left");
                assert!(ringer.ring());
                assert!(peer.hear().unwrap().rang && !peer.hear().unwrap().rang);
            }
            assert!(!server.peer.is_gone() && !client.peer.is_gone());
            drop(client);
            assert_goes(&server.peer);
        }
    });
}

#[test]
fn a_probe_is_answered_and_leaves_the_place() {
    on_both(|_| {
        for text in [None, Some("{}".repeat(100_000))] {
            let place = Place::new();
            let options = text.iter().fold(patient(), |options, text| options.description(text.as_str()));
            let server = serve(&place.path, offer(Kind::Rpc, Role::Sink), options);
            for _ in 0..100 {
                match connect(&place.path, Kind::Rpc, Role::Source, &patient().probe(true)) {
                    Err(ConnectError::OnePeer { description, .. }) => assert_eq!(description, text),
                    other => panic!("{other:?}"),
                }
            }
            let client = connect(&place.path, Kind::Rpc, Role::Source, &patient()).unwrap();
            let server = server.join().unwrap().unwrap();
            assert_eq!((server.rings.len(), client.rings.len()), (2, 2));
        }
    });
}

#[test]
fn a_probe_does_not_count_as_a_rejected_client() {
    let place = Place::new();
    let server = serve(&place.path, offer(Kind::Rpc, Role::Sink), Options::new().timeout(Duration::from_millis(300)));
    let probed = connect(&place.path, Kind::Rpc, Role::Source, &patient().probe(true));
    assert!(matches!(probed, Err(ConnectError::OnePeer { .. })), "{probed:?}");
    let error = server.join().unwrap().unwrap_err();
    assert!(matches!(error, ListenError::TimedOut { rejected: 0, last: None, .. }), "{error}");
}

#[test]
fn a_late_connector_gets_an_error_that_names_the_peer() {
    let place = Place::new();
    let server = serve(&place.path, offer(Kind::Rpc, Role::Sink), patient());
    let first = connect(&place.path, Kind::Rpc, Role::Source, &patient()).unwrap();
    let served = server.join().unwrap().unwrap();
    let late = || connect(&place.path, Kind::Rpc, Role::Source, &Options::new().timeout(Duration::ZERO));
    assert!(matches!(late(), Err(ConnectError::NoListener { served: true, .. })));
    assert!(late().unwrap_err().to_string().contains("`RpcServer`"));
    drop((first, served));
    assert!(matches!(late(), Err(ConnectError::NoListener { served: false, .. })));
}

#[test]
fn the_peer_is_this_process() {
    let (server, client) = pair((Kind::Bus, Role::Either), (Kind::Bus, Role::Either));
    let (server, client) = (server.unwrap(), client.unwrap());
    for peer in [&server.peer, &client.peer] {
        assert_eq!(peer.pid(), Some(std::process::id()));
        assert_eq!(peer.uid(), Some(rustix::process::geteuid().as_raw()));
    }
}

#[test]
fn roles_are_agreed() {
    use Role::{Either, Sink, Source};
    for (listener, connector, settled) in [
        (Either, Either, (Either, Either)),
        (Either, Source, (Sink, Source)),
        (Either, Sink, (Source, Sink)),
        (Source, Either, (Source, Sink)),
        (Sink, Either, (Sink, Source)),
        (Source, Sink, (Source, Sink)),
    ] {
        let (server, client) = pair((Kind::Bus, listener), (Kind::Bus, connector));
        assert_eq!((server.unwrap().role, client.unwrap().role), settled);
    }
}

#[test]
fn two_sides_that_want_the_same_end_do_not_connect() {
    for (kind, role, name) in [(Kind::Bus, Role::Source, "sender"), (Kind::Rpc, Role::Sink, "callee")] {
        let (server, client) = pair((kind, role), (kind, role));
        let error = client.unwrap_err();
        assert!(matches!(&error, ConnectError::RoleClash { role, .. } if *role == name), "{error}");
        let error = server.unwrap_err();
        let ListenError::TimedOut { rejected: 1, last: Some(Rejection::RoleClash { role }), .. } = error else {
            panic!("{error}")
        };
        assert_eq!(role, name);
    }
}

#[test]
fn a_client_of_the_wrong_kind_gets_a_reject() {
    let (server, client) = pair((Kind::Rpc, Role::Sink), (Kind::Bus, Role::Source));
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::WrongKind { ours: "bus", theirs: "RPC bus", .. }), "{error}");
    let error = server.unwrap_err();
    assert!(matches!(error, ListenError::TimedOut { last: Some(Rejection::WrongKind { .. }), .. }), "{error}");
}

#[test]
fn a_listener_makes_a_link_after_rejected_clients() {
    let place = Place::new();
    let server = serve(&place.path, offer(Kind::Bus, Role::Sink), patient());
    for _ in 0..3 {
        connect(&place.path, Kind::Rpc, Role::Source, &patient()).unwrap_err();
        connect(&place.path, Kind::Bus, Role::Sink, &patient()).unwrap_err();
    }
    let _client = connect(&place.path, Kind::Bus, Role::Source, &patient()).unwrap();
    server.join().unwrap().unwrap();
}

#[test]
fn one_listener_serves_many() {
    let place = Place::new();
    let options = patient();
    let listener = Listener::bind(&place.path, &options).unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let path = place.path.clone();
            thread::spawn(move || connect(&path, Kind::Bus, Role::Source, &patient()).unwrap())
        })
        .collect();
    let offer = offer(Kind::Bus, Role::Sink);
    let pairings: Vec<_> =
        (0..4).map(|_| listener.accept(&offer, &options, options.listen_deadline()).unwrap()).collect();
    let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(pairings.iter().chain(&clients).all(|pairing| !pairing.peer.is_gone()));
    assert!(listener.try_accept().unwrap().is_none(), "the queue is empty");
}

#[test]
fn a_client_that_comes_second_finds_the_next_listener() {
    let place = Place::new();
    let first = serve(&place.path, offer(Kind::Bus, Role::Sink), patient());
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let path = place.path.clone();
            thread::spawn(move || connect(&path, Kind::Bus, Role::Source, &patient()).unwrap())
        })
        .collect();
    let mut pairings = vec![first.join().unwrap().unwrap()];
    for _ in 0..2 {
        pairings.push(listen(&place.path, &offer(Kind::Bus, Role::Sink), &patient()).unwrap());
    }
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn connecting_waits_for_a_listener_to_appear() {
    let place = Place::new();
    let path = place.path.clone();
    let client = thread::spawn(move || connect(&path, Kind::Bus, Role::Source, &patient()));
    thread::sleep(Duration::from_millis(60));
    let _server = listen(&place.path, &offer(Kind::Bus, Role::Sink), &patient()).unwrap();
    client.join().unwrap().unwrap();
}

#[test]
fn time_is_up_for_both() {
    let place = Place::new();
    let options = Options::new().timeout(Duration::from_millis(80));
    let (error, waited) = took(|| connect(&place.path, Kind::Bus, Role::Source, &options).unwrap_err());
    assert!(matches!(error, ConnectError::NoListener { .. }), "{error}");
    assert!(waited >= Duration::from_millis(80) && waited < Duration::from_secs(5), "{waited:?}");
    let (error, waited) = took(|| listen(&place.path, &offer(Kind::Bus, Role::Sink), &options).unwrap_err());
    assert!(matches!(error, ListenError::TimedOut { rejected: 0, last: None, .. }), "{error}");
    assert!(waited >= Duration::from_millis(80) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(place.contents(), [""; 0]);
}

#[test]
fn an_interrupt_ends_both_waits() {
    let place = Place::new();
    let options = patient().interrupt(|| true);
    let error = connect(&place.path, Kind::Bus, Role::Source, &options).unwrap_err();
    assert!(matches!(error, ConnectError::Interrupted { .. }), "{error}");
    let error = listen(&place.path, &offer(Kind::Bus, Role::Sink), &options).unwrap_err();
    assert!(matches!(error, ListenError::Interrupted { .. }), "{error}");
}

#[test]
fn an_interrupt_hook_is_called_repeatedly() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let place = Place::new();
    let options = patient().interrupt(|| ASKED.fetch_add(1, Ordering::Relaxed) >= 3);
    let (error, waited) = took(|| listen(&place.path, &offer(Kind::Bus, Role::Sink), &options).unwrap_err());
    assert!(matches!(error, ListenError::Interrupted { .. }), "{error}");
    assert!(waited >= Duration::from_millis(90) && waited < Duration::from_secs(5), "{waited:?}");
}
