//! A type without a fixed size whose name does not say so, in a payload that seems fixed.

#[tachyon::payload]
struct Scan {
    name: String,
}

type Name = String;

#[tachyon::payload]
struct Nested {
    kind: u8,
    scan: Scan,
}

#[tachyon::payload]
struct Alias {
    name: Name,
}

#[tachyon::payload]
struct Array {
    scans: [Scan; 2],
}

#[tachyon::payload]
struct Listed {
    names: Vec<[[Name; 2]; 2]>,
}

/// That it does not travel is no further mistake.
#[tachyon::payload]
struct Outer {
    nested: Nested,
    aliases: [Alias; 2],
}

#[tachyon::payload]
struct OuterList {
    nested: Vec<Nested>,
    outer: Option<Outer>,
}

fn main() {}
