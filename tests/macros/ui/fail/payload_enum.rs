#[tachyon::payload]
#[repr(u8)]
enum WithFields {
    Number(u8),
    Named { value: u8 },
    Plain,
}

#[tachyon::payload]
#[repr(u8)]
enum Empty {}

fn main() {}
