//! The fuzz targets of the public interface over their corpus, and over generated input.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the fuzzer's programs name them")]

#[path = "../fuzz/src/describe.rs"]
mod describe;
#[path = "../fuzz/src/generated.rs"]
mod generated;
#[path = "../fuzz/src/parsed.rs"]
mod parsed;
#[path = "../fuzz/src/typed.rs"]
mod typed;

use std::path::Path;

/// Generated inputs for each target.
const GENERATED: u64 = 500;

/// Longest generated input, in bytes.
const LONGEST: u64 = 300;

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut saved = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        saved += 1;
    }
    assert!(saved > 0, "no input is saved for {name}");
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        // xorshift64: the same inputs in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..GENERATED {
        let len = next() % LONGEST;
        let input: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[7]).collect();
        target(&input);
    }
}

#[test]
fn the_typed_target_passes_its_corpus() {
    run("typed", typed::typed);
}

#[test]
fn the_describe_target_passes_its_corpus() {
    run("describe", describe::describe);
}
