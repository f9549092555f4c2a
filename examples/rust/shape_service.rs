//! A service that exchanges tagged unions and maps, in msgpack. `shape_service.py` is the same in Python.
//!
//! ```text
//! cargo run --release --bin shape_service -- SOCKET
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::f64::consts::PI;

use tachyon::Callee;

#[path = "shape_api.rs"]
mod api;
use api::{Shape, ShapeError, Shapes, ShapesService};

struct Geometry;

fn area(shape: &Shape) -> Result<f64, ShapeError> {
    match shape {
        Shape::Circle { radius } => Ok(PI * radius * radius),
        Shape::Polygon { points } if points.len() < 3 => Err(ShapeError::Flat { points: points.len() as u64 }),
        Shape::Polygon { points } => {
            let next = points.iter().cycle().skip(1);
            let doubled: f64 = points.iter().zip(next).map(|((x, y), (u, v))| x * v - u * y).sum();
            Ok(doubled.abs() / 2.0)
        }
        Shape::Group { shapes } => shapes.values().map(area).sum(),
    }
}

impl Shapes for Geometry {
    fn areas(&self, shapes: BTreeMap<String, Shape>, scale: Option<f64>) -> Result<BTreeMap<String, f64>, ShapeError> {
        let scale = scale.unwrap_or(1.0);
        shapes.into_iter().map(|(name, shape)| Ok((name, area(&shape)? * scale))).collect()
    }

    fn scaled(&self, shape: Shape, by: f64) -> Shape {
        match shape {
            Shape::Circle { radius } => Shape::Circle { radius: radius * by },
            Shape::Polygon { points } => {
                Shape::Polygon { points: points.into_iter().map(|(x, y)| (x * by, y * by)).collect() }
            }
            Shape::Group { shapes } => Shape::Group {
                shapes: shapes.into_iter().map(|(name, shape)| (name, self.scaled(shape, by))).collect(),
            },
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: shape_service SOCKET")?;
    let mut callee = Callee::listen(&socket, 1 << 16, 1 << 16)?;
    // Returns when the caller closes the connection.
    ShapesService::dispatcher(Geometry).serve_forever(&mut callee)?;
    Ok(())
}
