//! One error for each attribute, and none for the generated code.

#[shm::payload]
struct Point {
    x: f32,
}

#[shm::payload]
struct Scan {
    points: Vec<Point>,
    frame: String,
}

#[shm::error]
enum ScanError {
    #[error("busy")]
    Busy,
}

#[shm::tachyon_rpc(msg_type = 1)]
fn double(point: &Point) -> Point {
    Point { x: 2.0 * point.x }
}

fn main() {
    let scan = Scan { points: vec![double(&Point { x: 1.0 })], frame: String::new() };
    let _ = (ScanRef::from(&scan).into_owned(), ScanError::Busy.to_string());
}
