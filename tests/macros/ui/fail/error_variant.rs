use std::io;

#[tachyon::error]
enum ScanError {
    Silent,
    #[error("no sensor {0}")]
    NoSensor(u32),
    #[error("of {sensr} and {}")]
    Misspelt { sensor: u32, of: u32 },
    #[error("none of {it}")]
    Unit,
    #[error("{}", sensor)]
    Argument { sensor: u32 },
    #[error(transparent)]
    Io {
        #[source]
        source: String,
    },
    #[error("one")]
    #[error("two")]
    Twice,
    #[error("of {size}")]
    Sized { size: usize, name: &'static str, _pad: u8 },
    #[error]
    Bare,
}

#[tachyon::error]
enum Foreign {
    #[error("a foreign type")]
    Io { error: io::Error },
}

#[tachyon::error]
enum Shown {
    #[error("of {names}")]
    Names { names: Vec<String> },
}

fn main() {}
