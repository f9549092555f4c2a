//! A service with several arguments, text, lists, options and declared errors. `sensor_service.py` is the same in
//! Python.
//!
//! ```text
//! cargo run --release --bin sensor_service -- SOCKET
//! ```

use std::error::Error;

use tachyon::{Callee, List, Options};

#[path = "sensor_api.rs"]
mod api;
use api::{Point, Scan, ScanRef, SensorError, Sensors, SensorsService};

/// The range of a sensor that was added without one, in metres.
const RANGE: f32 = 10.0;

struct Sensor {
    name: String,
    range: f32,
    latest: Option<Scan>,
}

#[derive(Default)]
struct Rack(Vec<Sensor>);

impl Rack {
    fn find(&self, sensor: u32) -> Result<usize, SensorError> {
        let at = sensor as usize;
        if at < self.0.len() { Ok(at) } else { Err(SensorError::NoSensor { sensor }) }
    }
}

fn within(points: &[Point], radius: f32) -> impl Iterator<Item = &Point> {
    points.iter().filter(move |point| point.x.hypot(point.y) <= radius)
}

impl Sensors for Rack {
    fn add(&mut self, name: &str, range: Option<f32>) -> u32 {
        self.0.push(Sensor { name: name.to_owned(), range: range.unwrap_or(RANGE), latest: None });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    fn record(&mut self, sensor: u32, scan: ScanRef<'_>) -> Result<u64, SensorError> {
        let at = self.find(sensor)?;
        let sensor = &mut self.0[at];
        // The points are counted in place, in the caller's ring, and then copied.
        let count = within(scan.points, sensor.range).count() as u64;
        sensor.latest = Some(scan.into_owned());
        Ok(count)
    }

    fn latest(&self, sensor: u32) -> Result<Scan, SensorError> {
        let Sensor { name, latest, .. } = &self.0[self.find(sensor)?];
        latest.clone().ok_or_else(|| SensorError::NoScan { sensor, label: Some(name.clone()) })
    }

    fn crop(&self, scan: ScanRef<'_>, radius: f32, tags: List<'_, String>) -> Scan {
        let words: Vec<&str> = scan.note.into_iter().chain(tags).collect();
        Scan {
            points: within(scan.points, radius).copied().collect(),
            note: if words.is_empty() { None } else { Some(words.join(", ")) },
            ..scan.into_owned()
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|sensor| sensor.name.clone()).collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: sensor_service SOCKET")?;
    let mut dispatcher = SensorsService::dispatcher(Rack::default());
    // `tachyon describe` and `tachyon codegen` can ask while the service waits for its caller.
    let options = Options::new().description(dispatcher.describe().to_json());
    let mut callee = Callee::listen_with(&socket, 1 << 16, 1 << 16, &options)?;
    // Returns when the caller closes the connection.
    dispatcher.serve_forever(&mut callee)?;
    Ok(())
}
