//! The contract of the sensor service, for the service and its callers. `sensor_api.py` has the same contract.

use tachyon::{List, tachyon_rpc};

/// A point of a scan, in metres from the sensor.
#[tachyon::payload]
#[derive(Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

/// One rotation of a scanner.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scan {
    /// Seconds since the sensor was switched on.
    pub(crate) taken_at: f64,
    /// The frame of reference.
    pub(crate) frame: String,
    pub(crate) points: Vec<Point>,
    /// A note of the operator.
    pub(crate) note: Option<String>,
}

/// The errors that the service declares.
#[tachyon::error]
#[derive(PartialEq)]
pub(crate) enum SensorError {
    /// No sensor has this number.
    #[error("no sensor {sensor}")]
    NoSensor { sensor: u32 },
    /// The sensor has not recorded a scan.
    #[error("sensor {sensor} has no scan yet")]
    NoScan { sensor: u32, label: Option<String> },
}

/// A service for the scans of several sensors.
#[tachyon_rpc]
pub(crate) trait Sensors {
    /// Adds a sensor and returns its number.
    #[rpc(msg_type = 1)]
    fn add(&mut self, name: &str, range: Option<f32>) -> u32;

    /// Keeps a scan of a sensor and returns how many points are within its range.
    #[rpc(msg_type = 2)]
    fn record(&mut self, sensor: u32, scan: ScanRef<'_>) -> Result<u64, SensorError>;

    /// The latest scan of a sensor.
    #[rpc(msg_type = 3)]
    fn latest(&self, sensor: u32) -> Result<Scan, SensorError>;

    /// The points of a scan within a radius, with the tags added to its note.
    #[rpc(msg_type = 4)]
    fn crop(&self, scan: ScanRef<'_>, radius: f32, tags: List<'_, String>) -> Scan;

    /// The names of all sensors.
    #[rpc(msg_type = 5)]
    fn names(&self) -> Vec<String>;
}
