//! Where sizes are those of other types, only the compiler knows: it says how much, and the constant beside says where.

#[tachyon::payload]
struct Inner {
    kind: u8,
}

#[tachyon::payload]
struct Outer {
    inner: Inner,
    price: u64,
}

fn main() {}
