// Generated from a callee's description by `tachyon codegen rust`.

/// The payload `Grade`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Grade {
    /// Travels as 1.
    Good = 1,
    /// Travels as 700.
    Poor = 700,
}

/// The payload `Point`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// At offset 0.
    pub x: f32,
    /// At offset 4.
    pub y: f32,
}

/// The payload `Mark`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// At offset 0.
    pub at: Point,
    /// At offset 8.
    pub grade: Grade,
    /// At offset 10.
    pub valid: bool,
    /// At offset 11.
    pub _pad: [u8; 5],
}

/// The payload `Origin`.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// At offset 4 of the head.
    pub sensor: String,
    /// At offset 12 of the head.
    pub at: Point,
    /// At offset 20 of the head.
    pub more: Option<Vec<Point>>,
}

/// The payload `Scan`.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// At offset 8 of the head.
    pub taken_at: u64,
    /// At offset 16 of the head.
    pub frame: String,
    /// At offset 24 of the head.
    pub points: Vec<Point>,
    /// At offset 32 of the head.
    pub note: Option<String>,
    /// At offset 40 of the head.
    pub marks: Vec<Mark>,
    /// At offset 48 of the head.
    pub tags: Vec<String>,
    /// At offset 56 of the head.
    pub origin: Origin,
    /// At offset 64 of the head.
    pub sources: Vec<Origin>,
    /// At offset 72 of the head.
    pub rows: Vec<Vec<i32>>,
    /// At offset 80 of the head.
    pub complete: bool,
    /// At offset 84 of the head.
    pub grade: Option<Grade>,
    /// At offset 92 of the head.
    pub corrected: Option<Origin>,
}

/// The payload `Everything`.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Everything {
    /// At offset 4 of the head.
    pub byte: u8,
    /// At offset 8 of the head.
    pub number: u64,
    /// At offset 16 of the head.
    pub flag: bool,
    /// At offset 18 of the head.
    pub grade: Grade,
    /// At offset 20 of the head.
    pub text: String,
    /// At offset 28 of the head.
    pub owned: String,
    /// At offset 36 of the head.
    pub marks: Vec<Mark>,
    /// At offset 44 of the head.
    pub numbers: Vec<f64>,
    /// At offset 52 of the head.
    pub texts: Vec<String>,
    /// At offset 60 of the head.
    pub rows: Vec<Vec<u8>>,
    /// At offset 68 of the head.
    pub scan: Scan,
    /// At offset 76 of the head.
    pub second: Scan,
    /// At offset 84 of the head.
    pub third: Scan,
    /// At offset 92 of the head.
    pub scans: Vec<Scan>,
    /// At offset 100 of the head.
    pub maybe: Option<String>,
    /// At offset 108 of the head.
    pub other: Option<Scan>,
    /// At offset 116 of the head.
    pub point: Point,
    /// At offset 124 of the head.
    pub mark: Mark,
    /// At offset 140 of the head.
    pub array: [u16; 3],
    /// At offset 148 of the head.
    pub name: String,
    /// At offset 156 of the head.
    pub msg_type: u16,
}

/// The payload `Code`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// At offset 0.
    pub number: u8,
}

/// The errors of `split`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum SplitError {
    /// The error `NoSensor`.
    #[error("NoSensor: sensor {sensor}")]
    NoSensor {
        /// At offset 4 of the head.
        sensor: u32,
    },
    /// The error `Busy`.
    #[error("Busy")]
    Busy,
    /// The error `Odd`.
    #[error("Odd: why {why}")]
    Odd {
        /// At offset 4 of the head.
        why: String,
        /// At offset 12 of the head.
        origin: Option<Origin>,
        /// At offset 20 of the head.
        marks: Vec<Mark>,
    },
}

/// The payload `Small`.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Small {
    /// At offset 4 of the head.
    pub flag: bool,
    /// At offset 6 of the head.
    pub grade: Grade,
    /// At offset 8 of the head.
    pub text: String,
    /// At offset 16 of the head.
    pub numbers: Vec<u32>,
    /// At offset 24 of the head.
    pub names: Vec<String>,
    /// At offset 32 of the head.
    pub marks: Vec<Mark>,
    /// At offset 40 of the head.
    pub maybe: Option<Grade>,
    /// At offset 48 of the head.
    pub inner: Option<Origin>,
}

/// The errors of `fails`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum FailsError {
    /// The error `NoSensor`.
    #[error("NoSensor: sensor {sensor}")]
    NoSensor {
        /// At offset 4 of the head.
        sensor: u32,
    },
    /// The error `Busy`.
    #[error("Busy")]
    Busy,
    /// The error `Odd`.
    #[error("Odd: why {why}")]
    Odd {
        /// At offset 4 of the head.
        why: String,
        /// At offset 12 of the head.
        origin: Option<Origin>,
        /// At offset 20 of the head.
        marks: Vec<Mark>,
    },
}

/// The errors of `fallible`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum FallibleError {
    /// The error `NoSensor`.
    #[error("NoSensor: sensor {sensor}")]
    NoSensor {
        /// At offset 4 of the head.
        sensor: u32,
    },
    /// The error `Busy`.
    #[error("Busy")]
    Busy,
    /// The error `Odd`.
    #[error("Odd: why {why}")]
    Odd {
        /// At offset 4 of the head.
        why: String,
        /// At offset 12 of the head.
        origin: Option<Origin>,
        /// At offset 20 of the head.
        marks: Vec<Mark>,
    },
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// The endpoint `nothing`.
    #[rpc(msg_type = 100)]
    fn nothing(&self) -> Result<(), String>;

    /// The endpoint `everything`.
    #[rpc(msg_type = 101)]
    fn everything(
        &self,
        byte: u8,
        number: u64,
        flag: bool,
        grade: &Grade,
        text: &str,
        owned: &str,
        marks: &[Mark],
        numbers: &[f64],
        texts: tachyon::List<'_, String>,
        rows: tachyon::List<'_, Vec<u8>>,
        scan: ScanRef<'_>,
        second: ScanRef<'_>,
        third: ScanRef<'_>,
        scans: tachyon::List<'_, Scan>,
        maybe: Option<&str>,
        other: Option<ScanRef<'_>>,
        point: &Point,
        mark: &Mark,
        array: &[u16; 3],
    ) -> Result<Everything, String>;

    /// The endpoint `moved`.
    #[rpc(msg_type = 102)]
    fn moved(&self, scan: ScanRef<'_>, by: f32, tag: Option<&str>) -> Result<Scan, String>;

    /// The endpoint `split`.
    #[rpc(msg_type = 103)]
    fn split(&self, text: &str, at: &Code) -> Result<Vec<String>, SplitError>;

    /// The endpoint `add_slowly`.
    #[rpc(msg_type = 104)]
    fn add_slowly(&self, a: u64, b: u64, milliseconds: u64) -> Result<u64, String>;

    /// The endpoint `reached`.
    #[rpc(msg_type = 105)]
    fn reached(&self) -> Result<u64, String>;

    /// The endpoint `zeros`.
    #[rpc(msg_type = 106)]
    fn zeros(&self, request: &u32) -> Result<Vec<u8>, String>;

    /// The endpoint `long_text`.
    #[rpc(msg_type = 107)]
    fn long_text(&self, count: u32, end: &str) -> Result<String, String>;

    /// The endpoint `takes_one`.
    #[rpc(msg_type = 108)]
    fn takes_one(&self, request: SmallRef<'_>) -> Result<u64, String>;

    /// The endpoint `takes_several`.
    #[rpc(msg_type = 109)]
    fn takes_several(
        &self,
        flag: bool,
        grade: &Grade,
        text: &str,
        marks: &[Mark],
        rows: tachyon::List<'_, Vec<bool>>,
        value: SmallRef<'_>,
        maybe: Option<&str>,
    ) -> Result<u64, String>;

    /// The endpoint `fails`.
    #[rpc(msg_type = 110)]
    fn fails(&self, how: u32, text: &str) -> Result<Scan, FailsError>;

    /// The endpoint `fails_in_words`.
    #[rpc(msg_type = 111)]
    fn fails_in_words(&self, text: &str, times: u32) -> Result<u32, String>;

    /// The endpoint `fails_raw`.
    #[rpc(msg_type = 112)]
    fn fails_raw(&self, request: &[u8]) -> Result<Vec<u8>, String>;

    /// The endpoint `parses`.
    #[rpc(msg_type = 113)]
    fn parses(&self, text: &str, radix: u32) -> Result<u64, String>;

    /// The endpoint `shared_text`.
    #[rpc(msg_type = 120)]
    fn shared_text(&self, request: &bool) -> Result<String, String>;

    /// The endpoint `cow_text`.
    #[rpc(msg_type = 121)]
    fn cow_text(&self, request: &str) -> Result<String, String>;

    /// The endpoint `cow_marks`.
    #[rpc(msg_type = 122)]
    fn cow_marks(&self, request: &[Mark]) -> Result<Vec<Mark>, String>;

    /// The endpoint `boxed`.
    #[rpc(msg_type = 123)]
    fn boxed(&self, request: &[Point]) -> Result<Vec<Point>, String>;

    /// The endpoint `shared_texts`.
    #[rpc(msg_type = 124)]
    fn shared_texts(&self, request: tachyon::List<'_, String>) -> Result<Vec<String>, String>;

    /// The endpoint `constant`.
    #[rpc(msg_type = 125)]
    fn constant(&self) -> Result<[u16; 3], String>;

    /// The endpoint `fallible`.
    #[rpc(msg_type = 126)]
    fn fallible(&self, scan: ScanRef<'_>, take: bool) -> Result<Option<Scan>, FallibleError>;

    /// The endpoint `takes_texts`.
    #[rpc(msg_type = 130)]
    fn takes_texts(&self, request: tachyon::List<'_, String>) -> Result<u64, String>;

    /// The endpoint `takes_flags`.
    #[rpc(msg_type = 131)]
    fn takes_flags(&self, request: &[bool]) -> Result<u64, String>;

    /// The endpoint `takes_grade`.
    #[rpc(msg_type = 132)]
    fn takes_grade(&self, request: &Grade) -> Result<u64, String>;

    /// The endpoint `takes_text`.
    #[rpc(msg_type = 133)]
    fn takes_text(&self, request: &str) -> Result<u64, String>;

    /// The endpoint `takes_maybe`.
    #[rpc(msg_type = 134)]
    fn takes_maybe(&self, number: Option<u32>) -> Result<u64, String>;

    /// The endpoint `gives_small`.
    #[rpc(msg_type = 135)]
    fn gives_small(&self) -> Result<Small, String>;

    /// The endpoint `transposed`.
    #[rpc(msg_type = 136)]
    fn transposed(
        &self,
        image: tachyon::TensorRef<'_, f32, 2>,
        by: f32,
    ) -> Result<tachyon::Tensor<f32, 2>, String>;

    /// The endpoint `takes_tensor`.
    #[rpc(msg_type = 137)]
    fn takes_tensor(&self, request: tachyon::TensorRef<'_, u16, 2>) -> Result<u64, String>;
}
