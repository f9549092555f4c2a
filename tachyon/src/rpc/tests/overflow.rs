//! A bus and an RPC bus whose rings' positions overflow while they are used.

use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::bus::{Receiver, RecvError, Sender};
use crate::connection::Established;
use crate::dispatch::Dispatcher;
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Side, Use};
use crate::rpc::{Callee, Caller, ServeError};
use crate::wait::{Peer, PollingMode, Socket};

/// Both sides of a connection whose rings begin at `start`.
fn connected(rings: usize, start: u64) -> (Established, Established) {
    let (socket, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let carries = if rings == 1 { Use::Bus } else { Use::Calls };
    let ring = || Arc::new(RingMemory::create_at(Geometry::new(256, carries).unwrap(), start).unwrap().0);
    let rings: Vec<_> = (0..rings).map(|_| ring()).collect();
    let options = Options::new().polling(PollingMode::SpinTimes(16));
    let end = |side, role, socket| {
        let peer = Peer::new(Socket::connecting(socket), None, None, Some(0));
        Established::over(side, role, peer, rings.clone(), &options)
    };
    (end(Side::Listener, Role::Source, socket), end(Side::Connector, Role::Sink, other))
}

fn content(number: u64) -> Vec<u8> {
    vec![number.to_le_bytes()[0]; usize::try_from(number % 257).unwrap()]
}

#[test]
fn a_bus_does_not_notice_the_overflow_of_its_positions() {
    for back in [0, 1, 63, 64, 500] {
        let (ours, theirs) = connected(1, u64::MAX - back);
        let sending = std::thread::spawn(move || {
            let mut sender = Sender::over(&ours);
            for number in 0..1000 {
                sender.send(&content(number), u32::try_from(number).unwrap()).unwrap();
            }
        });
        let mut receiver = Receiver::over(&theirs);
        let mut next = 0;
        let end = loop {
            match receiver.recv_batch(7) {
                Ok(batch) => {
                    for message in &batch {
                        assert_eq!((u64::from(message.type_id()), &message[..]), (next, &content(next)[..]));
                        next += 1;
                    }
                }
                Err(end) => break end,
            }
        };
        assert!(matches!(end, RecvError::Closed), "{end}");
        assert_eq!(next, 1000);
        sending.join().unwrap();
    }
}

#[test]
fn calls_do_not_notice_the_overflow_of_their_rings_positions() {
    for back in [0, 1, 63, 64, 300] {
        let (ours, theirs) = connected(2, u64::MAX - back);
        let serving = std::thread::spawn(move || {
            let mut callee = Callee::over(&theirs);
            let mut dispatcher = Dispatcher::default();
            dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
            dispatcher.serve_forever(&mut callee)
        });
        let mut caller = Caller::over(&ours);
        drop(ours);
        // Several calls in flight, so that both rings fill and replies are kept.
        for round in 0..100 {
            let calls: Vec<_> = (0..6).map(|at| (at, caller.start(1, &content(round * 6 + at)).unwrap())).collect();
            for (at, call) in calls.into_iter().rev() {
                assert_eq!(*caller.finish(call).unwrap(), *content(round * 6 + at));
            }
        }
        drop(caller);
        let served: Result<(), ServeError> = serving.join().unwrap();
        served.unwrap();
    }
}
