//! A service with a stream of each kind, after `RouteGuide` of gRPC. `route_service.py` is the same in Python.
//!
//! ```text
//! cargo run --release --bin route_service -- SOCKET
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use tachyon::{Callee, ItemError, Items, StreamSender};

#[path = "route_api.rs"]
mod api;
use api::{Area, Feature, Note, Point, RouteError, Routes, RoutesService, Summary};

const FEATURES: [(i32, i32, &str); 6] = [
    (407_838_351, -746_143_763, "Patriots Path, Mendham"),
    (409_146_138, -746_188_906, "Berkshire Valley Management Area Trail, Jefferson"),
    (413_628_156, -749_015_468, "U.S. 6, Shohola"),
    (414_008_389, -743_951_297, "Mid Hudson Psychiatric Center, New Hampton"),
    (416_802_456, -742_370_183, "352 South Mountain Road, Wallkill"),
    (419_999_544, -740_371_136, "5 Conners Road, Kingston"),
];

struct Guide {
    features: Arc<[Feature]>,
    notes: Mutex<HashMap<Point, Vec<Note>>>,
}

impl Guide {
    fn find(&self, at: Point) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.at == at)
    }
}

/// The great-circle distance, in metres.
fn distance(from: Point, to: Point) -> f64 {
    let radians = |units: i32| (f64::from(units) / 1e7).to_radians();
    let (south, north) = (radians(from.latitude), radians(to.latitude));
    let (rise, turn) = ((north - south) / 2.0, radians(to.longitude - from.longitude) / 2.0);
    let square = rise.sin().powi(2) + south.cos() * north.cos() * turn.sin().powi(2);
    2.0 * 6_371_000.0 * square.sqrt().asin()
}

impl Routes for Guide {
    fn feature(&self, at: Point) -> Result<Feature, RouteError> {
        let Point { latitude, longitude } = at;
        self.find(at).cloned().ok_or(RouteError::NoFeature { latitude, longitude })
    }

    // The iterator outlives the call, so it owns its features.
    fn features(&self, within: &Area) -> impl Iterator<Item = Feature> + 'static {
        let (Area { low, high }, features) = (*within, Arc::clone(&self.features));
        (0..features.len()).filter_map(move |index| {
            let Feature { at: Point { latitude, longitude }, .. } = features[index];
            let inside = (low.latitude..=high.latitude).contains(&latitude)
                && (low.longitude..=high.longitude).contains(&longitude);
            inside.then(|| features[index].clone())
        })
    }

    // Runs on a thread of its own. A route that its caller gives up is an error here, and has no summary.
    fn record(&self, items: Items<Point>) -> Result<Summary, ItemError> {
        let mut summary = Summary { metres: 0.0, points: 0, features: 0 };
        let mut last = None;
        for point in items {
            let point = point?;
            summary.metres += last.replace(point).map_or(0.0, |last| distance(last, point));
            summary.points += 1;
            summary.features += u32::from(self.find(point).is_some());
        }
        Ok(summary)
    }

    fn chat(&self, items: Items<Note>, out: StreamSender<Note>) -> Result<(), ItemError> {
        for note in items {
            let note = note?;
            let earlier = {
                let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                let about = notes.entry(note.at).or_default();
                about.push(note);
                about[..about.len() - 1].to_vec()
            };
            // The lock is not held here: a send waits while the caller does not read.
            for note in &earlier {
                out.blocking_send(note)?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: route_service SOCKET")?;
    let mut callee = Callee::listen(&socket, 1 << 16, 1 << 16)?;
    let feature = |(latitude, longitude, name): (i32, i32, &str)| Feature {
        at: Point { latitude, longitude },
        name: name.to_owned(),
    };
    let guide = Guide { features: FEATURES.into_iter().map(feature).collect(), notes: Mutex::default() };
    // Returns when the caller closes the connection.
    RoutesService::dispatcher(guide).serve_forever(&mut callee)?;
    Ok(())
}
