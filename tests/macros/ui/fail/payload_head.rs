//! A head is copied to the stack: its size has a limit.

#[tachyon::payload]
struct Frame {
    name: String,
    pixels: [u8; 4096],
}

fn main() {}
