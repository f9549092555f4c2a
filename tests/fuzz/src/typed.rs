//! The fuzz target `typed`: reads any bytes as any payload.

use tachyon::Tensor;
use tachyon::payload::Value;

/// Numbers of every size, a `bool`, an enum and nested arrays.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// Eight bytes.
    pub instrument: u64,
    /// No invalid bit pattern.
    pub limit: f64,
    /// An array of arrays.
    pub levels: [[u16; 2]; 2],
    /// Three of 256 values are valid.
    pub side: Side,
    /// Two of 256 values are valid.
    pub partial: [bool; 3],
    /// Signed.
    pub quantity: i32,
}

/// The smallest value, zero, and the largest value.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Side {
    /// The smallest value.
    Buy = -128,
    /// Zero.
    Hold = 0,
    /// The largest value.
    Sell = 127,
}

/// Text, lists, options and another payload.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// A number before the variable fields.
    pub taken_at: u64,
    /// Text.
    pub frame: String,
    /// A list that is read in place.
    pub points: Vec<[f32; 2]>,
    /// An option.
    pub note: Option<String>,
    /// A list of checked elements.
    pub sides: Vec<Side>,
    /// A list of elements without a fixed size.
    pub tags: Vec<String>,
    /// Numbers in two dimensions.
    pub image: Option<Tensor<f32, 2>>,
}

/// Reads `data` as values of every kind.
///
/// A value that can be read is written with few more bytes than `data`, and is unchanged when it is read again.
/// Otherwise the error has a text.
pub fn typed(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    // The first byte has every alignment.
    let data = data.get(usize::from(how >> 5)..).unwrap_or_default();
    match how & 31 {
        0 => read::<u8>(data),
        1 => read::<u16>(data),
        2 => read::<u32>(data),
        3 => read::<u64>(data),
        4 => read::<bool>(data),
        5 => read::<Side>(data),
        6 => read::<Order>(data),
        7 => read::<[[i16; 3]; 2]>(data),
        8 => read::<[Side; 4]>(data),
        9 => read::<Vec<u8>>(data),
        10 => read::<Vec<u64>>(data),
        11 => read::<Vec<bool>>(data),
        12 => read::<Vec<Side>>(data),
        13 => read::<Vec<Order>>(data),
        14 => read::<Vec<[bool; 2]>>(data),
        15 => read::<String>(data),
        16 => read::<Vec<String>>(data),
        17 => read::<Vec<Vec<String>>>(data),
        18 => read::<Option<u32>>(data),
        19 => read::<Option<String>>(data),
        20 => read::<Vec<Scan>>(data),
        21 => read::<Option<Scan>>(data),
        22 => read::<Tensor<u16, 2>>(data),
        23 => read::<Tensor<f64, 8>>(data),
        24 => read::<Vec<Tensor<u8, 1>>>(data),
        _ => read::<Scan>(data),
    }
}

fn read<T: Value>(data: &[u8]) {
    match T::from_bytes(data) {
        Ok(value) => {
            let bytes = value.to_bytes();
            // Optional fields and padding that the sender left out are written.
            assert!(bytes.len() <= data.len() + 512 * (1 + data.len() / 8), "more bytes than the input allows");
            let again = T::from_bytes(&bytes).map(|value| value.to_bytes());
            assert_eq!(again.ok(), Some(bytes), "a value is unchanged when it is written and read again");
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
}
