//! The contract of the shape service, in msgpack. `shape_api.py` has the same contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tachyon::tachyon_rpc;

/// A shape: an enum with data, by its tag `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Shape {
    Circle { radius: f64 },
    Polygon { points: Vec<(f64, f64)> },
    Group { shapes: BTreeMap<String, Shape> },
}

/// The errors that the service declares.
#[tachyon::error]
pub(crate) enum ShapeError {
    /// A polygon needs three points.
    #[error("a polygon of {points} points has no area")]
    Flat { points: u64 },
}

/// A service for shapes of any depth.
#[tachyon_rpc]
pub(crate) trait Shapes {
    /// The area of each shape.
    #[rpc(msg_type = 1, codec = "msgpack")]
    fn areas(&self, shapes: BTreeMap<String, Shape>, scale: Option<f64>) -> Result<BTreeMap<String, f64>, ShapeError>;

    /// The shape, larger.
    #[rpc(msg_type = 2, codec = "msgpack")]
    fn scaled(&self, shape: Shape, by: f64) -> Shape;
}
