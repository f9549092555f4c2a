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

#[tachyon::error]
enum Kinds {
    #[error("unknown", kind = Missing)]
    Unknown,
    #[error("of the server", kind = Stopping)]
    Stopping,
    #[error("lower case", kind = not_found)]
    Lower,
    #[error("a path", kind = ErrorKind::NotFound)]
    Path,
    #[error("twice", kind = NotFound, kind = Aborted)]
    Twice,
    #[error("code", code = 5)]
    Code,
    #[error("right", kind = NotFound)]
    Right,
}

fn main() {}
