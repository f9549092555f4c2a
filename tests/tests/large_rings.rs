//! Large rings take neither memory nor time before they are used.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use rustix::fs::fstat;
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;
use tachyon_tests::test_run::skip;
use tachyon_tests::wire::{BUS, Connection, RPC, SINK, SOURCE};

/// Capacity of a ring, in bytes.
const LARGE: &str = "268435456";

/// Limit in KiB: of ring memory resident in one process after a connect, and of memory allocated to one ring.
const LITTLE: u64 = 1024;

/// Longest that both sides may take to start and to connect on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// For each kind of connection: the side that listens, the side that connects, the kind, and the connecting role.
const KINDS: [(&str, &str, u8, u8); 2] = [("sender", "receiver", BUS, SINK), ("callee", "caller", RPC, SOURCE)];

/// Whether the system allocates memory when it is mapped.
fn allocates_at_once() -> bool {
    let strict = std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim_ascii() == b"2");
    if strict {
        skip("this system allocates memory when it is mapped");
    }
    strict
}

#[test]
fn connecting_touches_little_of_large_rings_on_either_side() {
    if allocates_at_once() {
        return;
    }
    for (listens, connects, ..) in KINDS {
        let (_folder, path) = socket();
        let began = Instant::now();
        let ends = [("listen", listens), ("connect", connects)];
        let mut sides =
            ends.map(|(side, end)| Program(env!("CARGO_BIN_EXE_peer")).start("large", &path, &[side, end, LARGE]));
        for (side, (how, end)) in sides.iter_mut().zip(ends) {
            let touched: u64 = side.line().parse().unwrap();
            assert!(touched < LITTLE, "the {end} that {how}s has {touched} KiB of its rings");
        }
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
}

#[test]
fn large_rings_have_no_memory_before_they_are_used() {
    if allocates_at_once() {
        return;
    }
    for (listens, _, kind, role) in KINDS {
        let (_folder, path) = socket();
        let mut listening = Program(env!("CARGO_BIN_EXE_peer")).start("large", &path, &["listen", listens, LARGE]);
        let connection = Connection::connect(&path, kind, role).unwrap();
        let touched: u64 = listening.line().parse().unwrap();
        assert!(touched < LITTLE, "the {listens} has {touched} KiB of its rings");
        for ring in &connection.rings {
            let found = fstat(&ring.memory).unwrap();
            assert!(found.st_size > LARGE.parse().unwrap());
            // Blocks are of 512 bytes.
            assert!(u64::try_from(found.st_blocks).unwrap() / 2 < LITTLE, "{} blocks", found.st_blocks);
        }
    }
}
