//! Lengths of a hostile peer that are absurd allocate nothing before they are found out.
#![allow(unsafe_code, clippy::unwrap_used, reason = "the allocator counts, and a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use tachyon::payload::Value;
use tachyon::{CallError, Callee, Caller, Dispatcher, ErrorKind};
use tachyon_tests::contract::{Ledger, Scan, Small, TABLE, a_small, gives_small, reached};

/// Most bytes that one refused message may take: the error with its text, twice, since both ends are in this process.
const MOST: usize = 8 * 1024;

/// The system's allocator, and how much it gave out, now and at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn peak_of(run: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run();
    PEAK.load(Ordering::Relaxed).saturating_sub(before)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Every word of a message replaced by lengths that no message has.
fn absurd(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lengths = [u32::MAX, u32::MAX - 7, 1 << 31, 1 << 30, 1 << 24];
    (0..message.len() / 4).flat_map(move |at| {
        lengths.map(|length| {
            let mut bytes = message.to_vec();
            bytes[4 * at..4 * at + 4].copy_from_slice(&length.to_le_bytes());
            bytes
        })
    })
}

/// One test, since the count is of the whole process.
#[test]
fn absurd_lengths_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absurd.sock");
    let at = path.clone();
    let service = std::thread::spawn(move || {
        let mut callee = Callee::listen(at, 1 << 16, 1 << 16).unwrap();
        let mut dispatcher = Dispatcher::with_state(Ledger::default(), TABLE);
        dispatcher.serve_forever(&mut callee).unwrap();
    });
    let mut caller = Caller::connect(&path).unwrap();
    // Buffers that are kept grow to their size.
    gives_small::call(&mut caller).unwrap();
    reached::call(&mut caller).unwrap();
    let small = a_small().to_bytes();
    let mut refused = 0;
    let lists = [words(&[u32::MAX, 0]), words(&[1 << 30, 0, 16, 8]), words(&[u32::MAX, u32::MAX, u32::MAX, u32::MAX])];
    let requests: Vec<_> = absurd(&small)
        .map(|request| (108, request))
        .chain(lists.iter().map(|list| (130, list.clone())))
        .chain(absurd(&words(&[12, 16, 4, 0, 7])).map(|request| (134, request)))
        .collect();
    for (msg_type, request) in &requests {
        let mut error = None;
        let peak = peak_of(|| error = caller.call(*msg_type, request).map(drop).err());
        // Some words are values, or bytes that no part has.
        refused += u32::from(matches!(error, Some(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest));
        assert!(peak <= MOST, "{peak} bytes for {request:?}");
    }
    assert!(refused > 100, "{refused}");

    // What a caller reads, and what is read without a connection.
    for reply in absurd(&small) {
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
