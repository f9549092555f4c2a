//! The uses of a payload with a mistake, and of its view, are no further errors.
use std::collections::HashMap;

use tachyon::payload::Value;

#[tachyon::payload]
#[derive(Clone)]
struct Scan {
    name: String,
    points: Vec<u32>,
    size: usize,
}

#[tachyon::payload]
struct Holder {
    scans: Vec<Scan>,
    last: Option<Scan>,
    scan: Scan,
}

#[tachyon::payload]
struct Opaque {
    map: HashMap<u8, u8>,
}

#[tachyon::payload]
struct Opaques {
    all: Vec<Opaque>,
}

#[tachyon::payload]
#[derive(Clone, Copy)]
struct Fixed {
    size: usize,
}

#[tachyon::payload]
struct Wrapped {
    fixed: Fixed,
}

fn names<'a>(scan: ScanRef<'a>, holder: HolderRef<'a>) -> (&'a str, Scan) {
    let _ = holder.scans;
    let _ = ScanRef::from(&scan.into_owned()).points;
    (scan.name, Scan::own(scan))
}

fn main() {
    let _ = names;
}
