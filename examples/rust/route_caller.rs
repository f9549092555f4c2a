//! A caller of the route service in either language. `route_caller.py` prints the same.
//!
//! ```text
//! cargo run --release --bin route_caller -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::Duration;

use tachyon::{CallError, Caller};

#[path = "route_api.rs"]
mod api;
use api::{Area, Note, Point, RouteError, RoutesClient};

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: route_caller SOCKET")?;
    // The limit is for each call and for each whole stream.
    let mut routes = RoutesClient::new(Caller::connect(&socket)?).within(Duration::from_secs(5));

    let trail = Point { latitude: 409_146_138, longitude: -746_188_906 };
    println!("at the trail: {}", routes.feature(trail)?.name);
    let nowhere = Point { latitude: 0, longitude: 0 };
    match routes.feature(nowhere) {
        Err(CallError::Failed(error @ RouteError::NoFeature { .. })) => println!("{error}"),
        other => return Err(format!("the service should return an error, got {other:?}").into()),
    }

    let mut route = Vec::new();
    let low = Point { latitude: 400_000_000, longitude: -750_000_000 };
    let high = Point { latitude: 415_000_000, longitude: -730_000_000 };
    for feature in routes.features(&Area { low, high })? {
        let feature = feature?;
        println!("in the area: {}", feature.name);
        route.push(feature.at);
    }

    route.insert(1, Point { latitude: 408_000_000, longitude: -746_000_000 });
    let mut recording = routes.record()?;
    for point in &route {
        recording.send(point)?;
    }
    let summary = recording.finish()?;
    let kilometres = summary.metres / 1000.0;
    println!("{} points with {} features, {kilometres:.1} km", summary.points, summary.features);

    let mut chat = routes.chat()?;
    for (at, text) in [(trail, "first"), (nowhere, "second"), (trail, "third"), (trail, "fourth")] {
        chat.send(&Note { at, text: text.to_owned() })?;
    }
    chat.end()?;
    for note in chat {
        let Note { at, text } = note?;
        println!("an earlier note at {}: {text}", if at == trail { "the trail" } else { "another place" });
    }
    Ok(())
}
