//! The contract of the route service: one call, and a stream of each kind. `route_api.py` has the same contract.

use tachyon::{ItemError, Items, StreamSender, tachyon_rpc};

/// A place, in units of 1e-7 degrees.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    pub(crate) latitude: i32,
    pub(crate) longitude: i32,
}

/// An area between its south-west and its north-east corner.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) low: Point,
    pub(crate) high: Point,
}

/// A place with a name.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) at: Point,
    pub(crate) name: String,
}

/// A route that has ended.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) metres: f64,
    pub(crate) points: u32,
    /// Points of the route with a name.
    pub(crate) features: u32,
}

/// A remark about a place.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) at: Point,
    pub(crate) text: String,
}

/// The errors that the service declares.
#[tachyon::error]
pub(crate) enum RouteError {
    /// The place has no name.
    #[error("no feature at ({latitude}, {longitude})", kind = NotFound)]
    NoFeature { latitude: i32, longitude: i32 },
}

/// A guide to routes.
#[tachyon_rpc]
pub(crate) trait Routes {
    /// The feature at a place.
    #[rpc(msg_type = 1)]
    fn feature(&self, at: Point) -> Result<Feature, RouteError>;

    /// All features in an area.
    #[rpc(msg_type = 2)]
    fn features(&self, within: &Area) -> impl Iterator<Item = Feature> + 'static;

    /// Follows a route, and sums it up at its end.
    #[rpc(msg_type = 3)]
    fn record(&self, items: Items<Point>) -> Result<Summary, ItemError>;

    /// Takes notes, and answers each one with the earlier notes about its place.
    #[rpc(msg_type = 4)]
    fn chat(&self, items: Items<Note>, out: StreamSender<Note>) -> Result<(), ItemError>;
}
