//! The macros in a crate whose `Cargo.toml` gives the library another name.

/// A point.
#[shm::payload(crate = shm)]
#[derive(Debug, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

#[shm::payload(crate = shm)]
#[derive(Debug, Clone, PartialEq)]
struct Scan {
    points: Vec<Point>,
    frame: String,
}

#[shm::error(crate = shm)]
#[derive(PartialEq)]
enum ScanError {
    #[error("no sensor {sensor}")]
    NoSensor { sensor: u32 },
}

#[shm::tachyon_rpc(msg_type = 1, crate = shm)]
fn double(point: &Point) -> Point {
    Point { x: 2.0 * point.x, y: point.y }
}

#[shm::tachyon_rpc(msg_type = 2, crate = shm)]
fn points(count: u32) -> impl Iterator<Item = Result<Point, ScanError>> {
    (0..count).map(|x| Ok(Point { x: x.into(), y: 0.0 }))
}

#[shm::tachyon_rpc(msg_type = 3, crate = shm)]
fn frames(mut items: shm::Items<Scan>) -> Result<String, shm::ItemError> {
    items.try_fold(String::new(), |frames, scan| Ok(frames + &scan?.frame))
}

#[test]
fn the_attributes_use_the_crate_name_they_are_given() {
    let scan = Scan { points: vec![double(&Point { x: 1.0, y: 0.0 })], frame: "base".into() };
    assert_eq!(ScanRef::from(&scan).into_owned(), scan);
    assert_eq!(ScanError::NoSensor { sensor: 3 }.to_string(), "no sensor 3");
    assert_eq!(shm::endpoints![crate = shm; double, points, frames].len(), 3);
    assert_eq!(points(3).count(), 3);
}

#[test]
fn an_attribute_without_the_crate_name_is_refused() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
