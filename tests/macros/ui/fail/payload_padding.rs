#[tachyon::payload]
struct Between {
    kind: u8,
    price: u64,
}

#[tachyon::payload]
struct AtTheEnd {
    price: u64,
    live: bool,
}

#[tachyon::payload]
struct Several {
    a: u8,
    b: u16,
    c: u8,
    d: u32,
}

#[tachyon::payload]
struct Fine {
    kind: u8,
}

fn main() {}
