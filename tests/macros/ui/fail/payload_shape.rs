#[tachyon::payload]
struct Tuple(u64);

#[tachyon::payload]
struct Unit;

#[tachyon::payload]
struct Empty {}

#[tachyon::payload]
struct Conditional {
    #[cfg(unix)]
    value: u8,
}

#[tachyon::payload]
struct Nothing {
    nothing: [u8; 0],
}

fn main() {}
