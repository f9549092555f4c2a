//! A payload that seems fixed, with an unknown name for a type without a fixed size.

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

/// A payload of a refused payload is no further error.
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
