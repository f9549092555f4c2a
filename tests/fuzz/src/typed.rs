//! Typed decoding: any bytes as any payload.

use tachyon::payload::Value;

/// All sizes of number, a `bool`, an enum and nested arrays.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// Eight bytes.
    pub instrument: u64,
    /// Any bits.
    pub limit: f64,
    /// Fixed lengths, one in the other.
    pub levels: [[u16; 2]; 2],
    /// Three values of 256.
    pub side: Side,
    /// Two values of 256.
    pub partial: [bool; 3],
    /// Signed.
    pub quantity: i32,
}

/// Negative, none, and the largest.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Side {
    /// A gap before it.
    Buy = -128,
    /// The zero.
    Hold = 0,
    /// A gap before it.
    Sell = 127,
}

/// Text, lists, options and another payload.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Before everything else.
    pub taken_at: u64,
    /// Text.
    pub frame: String,
    /// Lent where they lie.
    pub points: Vec<[f32; 2]>,
    /// Text or none.
    pub note: Option<String>,
    /// Checked.
    pub sides: Vec<Side>,
    /// A list of what has no fixed size.
    pub tags: Vec<String>,
}

/// Reads `data` as values of every kind.
///
/// What is read has no more bytes than it came from, and is read again from its own; what is not is said in a sentence.
pub fn typed(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    // Every alignment of the first byte.
    let data = data.get(usize::from(how >> 5)..).unwrap_or_default();
    match how & 31 {
        0 => look::<u8>(data),
        1 => look::<u16>(data),
        2 => look::<u32>(data),
        3 => look::<u64>(data),
        4 => look::<bool>(data),
        5 => look::<Side>(data),
        6 => look::<Order>(data),
        7 => look::<[[i16; 3]; 2]>(data),
        8 => look::<[Side; 4]>(data),
        9 => look::<Vec<u8>>(data),
        10 => look::<Vec<u64>>(data),
        11 => look::<Vec<bool>>(data),
        12 => look::<Vec<Side>>(data),
        13 => look::<Vec<Order>>(data),
        14 => look::<Vec<[bool; 2]>>(data),
        15 => look::<String>(data),
        16 => look::<Vec<String>>(data),
        17 => look::<Vec<Vec<String>>>(data),
        18 => look::<Option<u32>>(data),
        19 => look::<Option<String>>(data),
        20 => look::<Vec<Scan>>(data),
        21 => look::<Option<Scan>>(data),
        _ => look::<Scan>(data),
    }
}

fn look<T: Value>(data: &[u8]) {
    match T::from_bytes(data) {
        Ok(value) => {
            let bytes = value.to_bytes();
            // Fields and gaps that a sender leaves out are written again.
            assert!(bytes.len() <= data.len() + 512 * (1 + data.len() / 8), "more than came");
            let again = T::from_bytes(&bytes).map(|value| value.to_bytes());
            assert_eq!(again.ok(), Some(bytes), "what is read is written and read again");
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
}
