struct Other {
    _number: u64,
}

#[tachyon::payload]
struct Outer {
    other: Other,
}

fn main() {}
