//! Typed decoding: any bytes as any payload.

use tachyon::Wire;

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

/// Reads `data` as payloads of every form, in place and copied.
///
/// What is read has exactly the bytes it came from; what is not is said in a sentence.
pub fn typed(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    // Every alignment of the first byte.
    let data = data.get(usize::from(how >> 5)..).unwrap_or_default();
    match how & 15 {
        0 => look::<()>(data),
        1 => look::<u8>(data),
        2 => look::<u16>(data),
        3 => look::<u32>(data),
        4 => look::<u64>(data),
        5 => look::<bool>(data),
        6 => look::<Side>(data),
        7 => look::<Order>(data),
        8 => look::<[[i16; 3]; 2]>(data),
        9 => look::<[Side; 4]>(data),
        10 => look_all::<u8>(data),
        11 => look_all::<u64>(data),
        12 => look_all::<bool>(data),
        13 => look_all::<Side>(data),
        14 => look_all::<Order>(data),
        _ => look_all::<[bool; 2]>(data),
    }
}

fn look<W: Wire<Owned = W>>(data: &[u8]) {
    match W::read(data) {
        Ok(value) => assert_eq!(value.bytes(), data),
        Err(problem) => {
            assert!(W::in_place(data).is_none(), "lent what cannot be read");
            assert!(!problem.to_string().is_empty());
        }
    }
    if let Some(value) = W::in_place(data) {
        assert_eq!(value.bytes(), data);
    }
}

fn look_all<T>(data: &[u8])
where
    [T]: Wire<Owned = Vec<T>>,
{
    match <[T]>::read(data) {
        Ok(values) => assert_eq!(values.bytes(), data),
        Err(problem) => {
            assert!(<[T]>::in_place(data).is_none(), "lent what cannot be read");
            assert!(!problem.to_string().is_empty());
        }
    }
    if let Some(values) = <[T]>::in_place(data) {
        assert_eq!(values.bytes(), data);
    }
}
