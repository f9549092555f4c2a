use std::collections::HashMap;
use std::num::NonZeroU8;

#[tachyon::payload]
struct Everything {
    size: usize,
    difference: isize,
    letter: char,
    wide: u128,
    wide_too: [i128; 2],
    text: String,
    text_too: &'static str,
    vector: Vec<u8>,
    map: HashMap<u8, u8>,
    boxed: Box<u8>,
    address: *const u8,
    function: fn(),
    tuple: (u8, u8),
    maybe: Option<u8>,
    not_zero: NonZeroU8,
    rest: [u8],
}

fn main() {}
