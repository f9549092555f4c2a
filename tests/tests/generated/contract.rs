// Generated from a callee's description by `tachyon codegen rust`.

/// The payload `Point`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// At offset 0.
    pub x: f32,
    /// At offset 4.
    pub y: f32,
}

/// One turn of a sensor.
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
}

/// Left or right.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Travels as 1.
    Left = 1,
    /// Travels as 2.
    Right = 2,
}

/// The errors of `filter`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum FilterError {
    /// No such sensor.
    #[error("NoSensor: sensor {sensor}")]
    NoSensor {
        /// At offset 4 of the head.
        sensor: u32,
        /// At offset 8 of the head.
        side: Side,
    },
    /// The error `Busy`.
    #[error("Busy")]
    Busy,
}

/// The payload `Mount`.
#[tachyon::payload(extensible)]
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// At offset 4 of the head.
    pub scan: Scan,
    /// At offset 12 of the head.
    pub at: Point,
    /// At offset 20 of the head.
    pub r#type: Side,
}

/// The errors of `find_all`.
///
/// No variant can have the names of these, which arrive untyped: `Self`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum FindAllError {
    /// Try again.
    #[error("Busy")]
    Busy {
        /// At offset 4 of the head.
        seconds: Option<f32>,
    },
    /// The error `None`.
    #[error("None")]
    None,
    /// The error `Side`.
    #[error("Side")]
    Side,
}

/// The errors of `names`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum NamesError {
    /// The error `Busy`.
    #[error("Busy")]
    Busy,
}

/// The errors of `scans`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum ScansError {
    /// The error `AnErrorWithALongName`.
    #[error("AnErrorWithALongName")]
    AnErrorWithALongName,
    /// The error `AnotherErrorWithALongName`.
    #[error("AnotherErrorWithALongName")]
    AnotherErrorWithALongName,
    /// The error `AndYetAnother`.
    #[error("AndYetAnother")]
    AndYetAnother,
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// Leaves out points.
    #[rpc(msg_type = 4)]
    fn filter(&self, scan: ScanRef<'_>, radius: f32, tags: &[u32]) -> Result<Scan, FilterError>;

    /// The endpoint `find_all`.
    #[rpc(msg_type = 5)]
    fn find_all(
        &self,
        note: Option<&str>,
        names: tachyon::List<'_, String>,
        at: &Point,
        class: &[u8],
        near: Option<Point>,
        mount: Option<MountRef<'_>>,
    ) -> Result<Option<Vec<Scan>>, FindAllError>;

    /// The endpoint `names`.
    #[rpc(msg_type = 6)]
    fn names(&self, request: &str) -> Result<Vec<String>, NamesError>;

    /// The endpoint `mount`.
    #[rpc(msg_type = 7)]
    fn mount(&self, request: MountRef<'_>) -> Result<(), String>;

    /// The endpoint `a_function_of_a_rather_long_name`.
    #[rpc(msg_type = 8)]
    fn a_function_of_a_rather_long_name(
        &self,
        first_argument: u64,
        second: u64,
    ) -> Result<Vec<u8>, String>;

    /// The endpoint `scans`.
    #[rpc(msg_type = 9)]
    fn scans(&self, request: tachyon::List<'_, Scan>) -> Result<u32, ScansError>;
}
