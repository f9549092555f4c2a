use std::time::Duration;

struct Other {
    _number: u64,
}

#[tachyon::payload]
struct Outer {
    other: Other,
}

#[tachyon::payload]
struct Foreign {
    kind: u8,
    time: std::time::Duration,
}

#[tachyon::payload]
struct Variable {
    names: Vec<String>,
    times: Vec<Duration>,
    other: Option<Other>,
}

#[tachyon::payload(extensible)]
#[derive(Debug, Clone, PartialEq)]
struct Derived {
    time: Duration,
}

fn main() {}
