//! A head is copied to the stack.

#[tachyon::payload]
struct Frame {
    name: String,
    pixels: [u8; 4096],
}

fn main() {}
