//! Lengths that no message has, from a hostile peer, are refused before anything is allocated for them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tachyon::payload::Value;
use tachyon::{CallError, Callee, Caller, Dispatcher, ErrorKind};
use tachyon_tests::allocation::{Counting, peak_of};
use tachyon_tests::contract::{Ledger, Scan, Small, TABLE, a_small, gives_small, reached};
use tachyon_tests::temporary::socket;

/// Most bytes that one refused message may take: an error with its text, twice, since both ends are in this process.
const MOST: usize = 8 * 1024;

#[global_allocator]
static COUNTING: Counting = Counting;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Copies of a message, each with one word replaced by a length that no message has.
fn with_wrong_lengths(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lengths = [u32::MAX, u32::MAX - 7, 1 << 31, 1 << 30, 1 << 24];
    (0..message.len() / 4).flat_map(move |at| {
        lengths.map(|length| {
            let mut bytes = message.to_vec();
            bytes[4 * at..4 * at + 4].copy_from_slice(&length.to_le_bytes());
            bytes
        })
    })
}

// One test, since the count is the process's.
#[test]
fn lengths_beyond_the_message_allocate_nothing() {
    let (_folder, path) = socket();
    let at = path.clone();
    let service = std::thread::spawn(move || {
        let mut callee = Callee::listen(at, 1 << 16, 1 << 16).unwrap();
        let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
        dispatcher.serve_forever(&mut callee).unwrap();
    });
    let mut caller = Caller::connect(&path).unwrap();
    // The connection's buffers grow to their size.
    gives_small::call(&mut caller).unwrap();
    reached::call(&mut caller).unwrap();
    let small = a_small().to_bytes();
    let mut refused = 0;
    let lists = [words(&[u32::MAX, 0]), words(&[1 << 30, 0, 16, 8]), words(&[u32::MAX, u32::MAX, u32::MAX, u32::MAX])];
    let requests: Vec<_> = with_wrong_lengths(&small)
        .map(|request| (108, request))
        .chain(lists.iter().map(|list| (130, list.clone())))
        .chain(with_wrong_lengths(&words(&[12, 16, 4, 0, 7])).map(|request| (134, request)))
        .collect();
    for (msg_type, request) in &requests {
        let mut error = None;
        let peak = peak_of(|| error = caller.call(*msg_type, request).map(drop).err());
        // Some words are values, or padding, and are not refused.
        refused += u32::from(matches!(error, Some(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest));
        assert!(peak <= MOST, "{peak} bytes for {request:?}");
    }
    assert!(refused > 100, "{refused}");

    // Replies, and values without a connection.
    for reply in with_wrong_lengths(&small) {
        let mut outcome = None;
        let peak = peak_of(|| outcome = Some(Small::from_bytes(&reply).is_err()));
        assert!(peak <= MOST, "{peak} bytes for {reply:?}");
    }
    for list in &lists {
        let peak = peak_of(|| {
            Vec::<String>::from_bytes(list).unwrap_err();
            Vec::<Vec<Vec<u8>>>::from_bytes(list).unwrap_err();
            Vec::<Scan>::from_bytes(list).unwrap_err();
        });
        assert!(peak <= MOST, "{peak} bytes for {list:?}");
    }
    drop(caller);
    service.join().unwrap();
}
