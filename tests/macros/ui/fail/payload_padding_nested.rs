//! Only the compiler knows the sizes of other types: its error has the size of the gap, and the constant has the place.

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
