//! Another attribute may change a payload after `payload` has read it: a different layout is refused.
use tachyon_test_attributes::{by_reference, without_repr};

#[tachyon::payload]
#[by_reference]
pub struct Reference {
    pub id: u64,
}

#[tachyon::payload]
#[without_repr]
pub struct Moved {
    pub a: u8,
    pub live: bool,
    pub b: u16,
    pub c: u32,
    pub d: u64,
}

fn main() {}
