//! Short runs of `chaos` with Rust actors, and peers that are stopped, which is no death. `make kill` and `make soak`
//! are the long runs, with actors of both languages.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tachyon::{
    CallError, Callee, Caller, Dispatcher, PollingMode, Receiver, RecvError, SendError, Sender, ServeError, State,
};
use tachyon_tests::message::{length, message};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

fn chaos(arguments: &[&str]) {
    let ran = Program(env!("CARGO_BIN_EXE_chaos")).command().args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn survivors_get_committed_messages_and_then_the_death() {
    assert!(Path::new(env!("CARGO_BIN_EXE_actor")).exists());
    chaos(&["kill", "--rounds", "25"]);
}

#[test]
fn everything_that_is_sent_is_received() {
    chaos(&["soak", "--seconds", "4"]);
}

const MODES: [PollingMode; 3] = [PollingMode::Park, PollingMode::Adaptive, PollingMode::Spin];

/// Longer than a death takes to be noticed.
const LIMIT: Duration = Duration::from_millis(150);

#[test]
fn a_stopped_sender_is_waited_for() {
    for mode in MODES {
        let (_folder, path) = socket();
        let sender = PEER.start("sender", &path, &["connect", "0", "100", "100000", "adaptive"]);
        let mut receiver = Receiver::listen(&path, 4096).unwrap();
        receiver.set_polling_mode(mode);
        let mut received = 0;
        let mut take = |receiver: &mut Receiver| -> Result<(), RecvError> {
            let guard = receiver.recv_timeout(LIMIT)?;
            assert_eq!(*guard, *message(received, length(received, 100)));
            received += 1;
            Ok(())
        };
        take(&mut receiver).unwrap();
        sender.signal(Signal::STOP);
        // The messages that the sender had sent arrive, and then none.
        let end = loop {
            if let Err(error) = take(&mut receiver) {
                break error;
            }
        };
        assert!(matches!(end, RecvError::TimedOut), "{mode:?}: {end}");
        assert!(matches!(take(&mut receiver), Err(RecvError::TimedOut)));
        assert_eq!(receiver.state(), State::Open);
        sender.signal(Signal::CONT);
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            match take(&mut receiver) {
                Ok(()) => {}
                Err(RecvError::TimedOut) => assert!(Instant::now() < until),
                Err(RecvError::Closed) => break,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(received, 100_000, "{mode:?}");
        sender.finish();
    }
}

#[test]
fn a_stopped_receiver_is_waited_for() {
    for mode in MODES {
        let (_folder, path) = socket();
        let receiver = PEER.start("receiver", &path, &["listen", "4096", "100", "adaptive"]);
        let mut sender = Sender::connect(&path).unwrap();
        sender.set_polling_mode(mode);
        receiver.signal(Signal::STOP);
        let mut sent = 0;
        let end = loop {
            let outcome = sender.send_timeout(&message(sent, length(sent, 100)), number(sent), LIMIT);
            match outcome {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(end, SendError::TimedOut), "{mode:?}: {end}");
        assert_eq!(sender.state(), State::Open);
        receiver.signal(Signal::CONT);
        while sent < 5000 {
            sender.send(&message(sent, length(sent, 100)), number(sent)).unwrap();
            sent += 1;
        }
        drop(sender);
        assert_eq!(receiver.finish(), "5000", "{mode:?}");
    }
}

fn number(sent: u64) -> u32 {
    u32::try_from(sent % 1000).unwrap()
}

#[test]
fn a_stopped_callee_is_waited_for() {
    for mode in MODES {
        let (_folder, path) = socket();
        let callee = PEER.start("callee", &path, &["4096", "4096", "adaptive", "no text"]);
        let mut caller = Caller::connect(&path).unwrap();
        caller.set_polling_mode(mode);
        assert_eq!(&*caller.call(1, b"before").unwrap(), b"before");
        callee.signal(Signal::STOP);
        for _ in 0..3 {
            let late = caller.call_timeout(1, b"late", LIMIT).map(drop);
            assert!(matches!(late, Err(CallError::TimedOut { .. })), "{mode:?}: {late:?}");
        }
        // A call without a deadline stays in flight.
        let call = caller.start(1, b"patient").unwrap();
        assert!(caller.try_finish(call).unwrap().is_none());
        assert_eq!(caller.state(), State::Open);
        callee.signal(Signal::CONT);
        assert_eq!(&*caller.finish(call).unwrap(), b"patient");
        assert_eq!(&*caller.call(1, b"after").unwrap(), b"after");
        assert_eq!(caller.outstanding(), 0);
        drop(caller);
        assert_eq!(callee.finish(), "closed");
    }
}

#[test]
fn a_stopped_caller_is_waited_for() {
    for mode in MODES {
        let (_folder, path) = socket();
        let caller = PEER.start("caller", &path, &["20000", "100"]);
        let mut callee = Callee::listen(&path, 4096, 4096).unwrap();
        callee.set_polling_mode(mode);
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
        dispatcher.serve_once(&mut callee).unwrap();
        caller.signal(Signal::STOP);
        let mut served = 1;
        let end = loop {
            match dispatcher.serve_once_timeout(&mut callee, LIMIT) {
                Ok(()) => served += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(end, ServeError::TimedOut), "{mode:?}: {end}");
        assert!(served < 20_000);
        assert_eq!(callee.state(), State::Open);
        caller.signal(Signal::CONT);
        dispatcher.serve_forever(&mut callee).unwrap();
        assert_eq!(caller.finish(), "20000", "{mode:?}");
    }
}
