//! Fields that a variable payload cannot have.
use std::collections::{HashMap, VecDeque};

#[tachyon::payload]
struct Everything {
    text: String,
    optional: Vec<Option<u8>>,
    twice: Option<Option<u8>>,
    texts: [String; 2],
    size: Vec<usize>,
    borrowed: Option<&'static str>,
    slice: &'static [u8],
    letter: Option<char>,
    map: HashMap<String, u8>,
    queue: VecDeque<Vec<u8>>,
    boxed: Box<str>,
    pair: Vec<(String, u8)>,
    nothing: Vec<()>,
    _pad: [u8; 4],
    #[cfg(unix)]
    conditional: u8,
}

#[tachyon::payload]
struct Tree {
    name: String,
    branches: Vec<Tree>,
    parents: Vec<Self>,
}

#[tachyon::payload]
#[repr(C)]
struct Laid {
    name: String,
}

#[tachyon::payload(extensible)]
#[repr(u8)]
enum Side {
    Buy,
}

#[tachyon::payload(extensible = true)]
struct Valued {
    number: u8,
}

#[tachyon::payload(extensible, extensible)]
struct Twice {
    number: u8,
}

fn main() {}
