//! A caller of the shape service in either language. `shape_caller.py` prints the same.
//!
//! ```text
//! cargo run --release --bin shape_caller -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tachyon::{CallError, Caller};

#[path = "shape_api.rs"]
mod api;
use api::{Shape, ShapeError, ShapesClient};

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: shape_caller SOCKET")?;
    let mut caller = Caller::connect(&socket)?;
    let mut service = ShapesClient::new(&mut caller).within(Duration::from_secs(5));

    let circle = Shape::Circle { radius: 1.0 };
    let square = Shape::Polygon { points: vec![(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)] };
    let both = [("circle".to_owned(), circle.clone()), ("square".to_owned(), square)];
    let group = Shape::Group { shapes: both.into() };

    let shapes = BTreeMap::from([("circle".to_owned(), circle), ("group".to_owned(), group.clone())]);
    for (name, area) in service.areas(&shapes, &None)? {
        println!("{name}: {area:.2}");
    }
    if let Shape::Group { shapes } = service.scaled(&group, 2.0)? {
        for (name, shape) in shapes {
            match shape {
                Shape::Circle { radius } => println!("{name}: a circle of radius {radius:.1}"),
                Shape::Polygon { points } => println!("{name}: a polygon of {} points", points.len()),
                Shape::Group { shapes } => println!("{name}: a group of {}", shapes.len()),
            }
        }
    }
    let line = Shape::Polygon { points: vec![(0.0, 0.0), (1.0, 1.0)] };
    match service.areas(&BTreeMap::from([("line".to_owned(), line)]), &Some(2.0)) {
        Err(CallError::Failed(error @ ShapeError::Flat { .. })) => println!("{error}"),
        other => return Err(format!("the service should return an error, got {other:?}").into()),
    }
    Ok(())
}
