//! A caller of the sensor service in either language. `sensor_caller.py` prints the same.
//!
//! ```text
//! cargo run --release --bin sensor_caller -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::Duration;

use tachyon::{CallError, Caller};

#[path = "sensor_api.rs"]
mod api;
use api::{Point, Scan, ScanRef, SensorError, SensorsClient};

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: sensor_caller SOCKET")?;
    let mut caller = Caller::connect(&socket)?;
    let mut sensors = SensorsClient::new(&mut caller).within(Duration::from_secs(5));

    let front = sensors.add("front", Some(5.0))?;
    let rear = sensors.add("rear", None)?;
    println!("sensors: {}", sensors.names()?.join(", "));

    let points = [Point { x: 3.0, y: 4.0 }, Point { x: 6.0, y: 8.0 }, Point { x: 0.0, y: 1.0 }];
    // A scan of borrowed values: they are copied once, into the ring.
    let scan = ScanRef { taken_at: 1.5, frame: "map", points: &points, note: Some("dusk") };
    println!("front sees {} of {} points", sensors.record(front, scan)?, points.len());

    let Scan { points: kept, note, .. } = sensors.crop(scan, 2.0, &["indoor", "night"])?;
    println!("cropped to {} point, {}", kept.len(), note.as_deref().unwrap_or("without a note"));
    let latest = sensors.latest(front)?;
    println!(
        "latest of front: {} points in {}, {}",
        latest.points.len(),
        latest.frame,
        latest.note.unwrap_or_default()
    );

    for sensor in [rear, 7] {
        match sensors.latest(sensor) {
            Err(CallError::Failed(error @ SensorError::NoScan { .. })) => println!("{error}: try again later"),
            Err(CallError::Failed(error @ SensorError::NoSensor { .. })) => println!("{error}: stop trying"),
            other => return Err(format!("the service should return an error, got {other:?}").into()),
        }
    }
    Ok(())
}
