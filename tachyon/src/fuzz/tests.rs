//! The targets over the inputs in `tests/fuzz/corpus`, and over random inputs.

use std::path::Path;

/// Random inputs for each target.
const MADE_UP: u64 = 500;

/// Longest random input, in bytes.
const LONGEST: u64 = 300;

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let mut saved = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        saved += 1;
    }
    assert!(saved > 0, "no input is saved in {}", folder.display());
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        // xorshift64: the same inputs in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..MADE_UP {
        let len = next() % LONGEST;
        let input: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[7]).collect();
        target(&input);
    }
}

macro_rules! targets {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), super::$name);
        }
    )*};
}

targets!(
    consumer, producer, bell, receiver, sender, caller, callee, engine, server, listener, connector, stats, contract
);
