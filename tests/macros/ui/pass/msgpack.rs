//! Endpoints of the codec msgpack: any types of serde, in functions and in services.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes, non_ascii_idents)]
#![deny(rust_2018_idioms, clippy::all, clippy::pedantic)]
#![allow(clippy::needless_pass_by_value, reason = "arguments are owned")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "a handler borrows the state")]

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tachyon::{CallError, Context, Dispatcher, ItemError, Items, StreamSender, endpoints, tachyon_rpc};

/// An enum with data, which only this codec carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Shape {
    Circle { radius: f64 },
    Polygon { points: Vec<(f64, f64)>, name: Option<String> },
}

type Areas = HashMap<String, f64>;

/// A declared error.
#[tachyon::error]
#[derive(PartialEq)]
enum ShapeError {
    /// A shape without an area.
    #[error("{name} is flat")]
    Flat { name: String },
}

#[tachyon_rpc(msg_type = 1, codec = "msgpack")]
fn areas(shapes: HashMap<String, Shape>, scale: f64, r#type: Option<String>) -> Result<Areas, ShapeError> {
    let flat = |(name, shape): (&String, &Shape)| (*shape == Shape::Circle { radius: 0.0 }).then(|| name.clone());
    match shapes.iter().find_map(flat) {
        Some(name) => Err(ShapeError::Flat { name: r#type.unwrap_or(name) }),
        None => Ok(shapes.into_keys().map(|name| (name, scale)).collect()),
    }
}

#[tachyon_rpc(msg_type = 2, codec = "msgpack")]
fn nothing() {}

#[tachyon_rpc(msg_type = 3, codec = "msgpack")]
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the state of a table")]
fn stated(#[state] state: &u64, _text: String, #[context] cx: &Context<'_>, grid: [[u8; 2]; 2]) -> (u64, String) {
    (*state + u64::from(grid[1][1]), cx.name.to_owned())
}

#[tachyon_rpc(msg_type = 4, codec = "msgpack")]
fn text(limit: u8) -> Result<std::borrow::Cow<'static, str>, String> {
    if limit == 0 { Err("no room".to_owned()) } else { Ok("text".into()) }
}

#[tachyon_rpc(msg_type = 7, codec = "msgpack")]
fn shapes(count: u32) -> Result<impl Iterator<Item = Result<Shape, ShapeError>>, ShapeError> {
    if count == 0 {
        return Err(ShapeError::Flat { name: "all".to_owned() });
    }
    Ok((0..count).map(|number| Ok(Shape::Circle { radius: f64::from(number) })))
}

#[tachyon_rpc(msg_type = 8, codec = "msgpack")]
fn scaled(scale: f64, shapes: Items<Shape>, out: StreamSender<Shape>) -> Result<(), ItemError> {
    for shape in shapes {
        match shape? {
            Shape::Circle { radius } => out.blocking_send(&Shape::Circle { radius: scale * radius })?,
            polygon @ Shape::Polygon { .. } => out.blocking_send(&polygon)?,
        }
    }
    Ok(())
}

#[tachyon_rpc(msg_type = 9, codec = "msgpack")]
fn largest(shapes: Items<Shape>) -> Result<Option<Shape>, ItemError> {
    shapes.last().transpose()
}

/// A service of both codecs.
#[tachyon_rpc]
trait Store {
    #[rpc(msg_type = 5, codec = "msgpack")]
    fn put(&mut self, key: String, value: Shape) -> Option<Shape>;

    #[rpc(msg_type = 6)]
    fn len(&self) -> u64;
}

#[derive(Default)]
struct Shapes(HashMap<String, Shape>);

impl Store for Shapes {
    fn put(&mut self, key: String, value: Shape) -> Option<Shape> {
        self.0.insert(key, value)
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

fn main() {
    let circle = Shape::Circle { radius: 0.0 };
    assert_eq!(
        areas([("a".to_owned(), circle.clone())].into(), 1.0, None),
        Err(ShapeError::Flat { name: "a".to_owned() })
    );
    let description =
        Dispatcher::with_state(7_u64, endpoints![areas, nothing, stated, text, shapes, scaled, largest]).describe();
    let shown: Vec<_> = description.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "areas(msgpack) -> msgpack raises Flat",
            "nothing(msgpack) -> msgpack",
            "stated(msgpack) -> msgpack",
            "text(msgpack) -> msgpack",
            "shapes(msgpack) -> stream of msgpack raises Flat",
            "scaled(msgpack, items: stream of msgpack) -> stream of msgpack",
            "largest(msgpack, items: stream of msgpack) -> msgpack",
        ]
    );
    let store = StoreService::dispatcher(Shapes::default()).describe();
    assert_eq!(store.endpoints[0].to_string(), "put(msgpack) -> msgpack");
    assert_eq!(Shapes::default().len(), 0);
    // Both sides of every client compile.
    let _ = |caller: &mut tachyon::Caller| -> Result<(), Box<dyn std::error::Error>> {
        let shapes = HashMap::from([("a".to_owned(), Shape::Polygon { points: vec![(0.0, 1.0)], name: None })]);
        let found: Result<Areas, CallError<ShapeError>> = areas::call(caller, &shapes, 0.5, &None);
        drop(found?);
        nothing::call(caller)?;
        let (_, _): (u64, String) = stated::call(caller, "text", [[0; 2]; 2])?;
        for shape in shapes::open(caller, 3)? {
            drop::<Shape>(shape?);
        }
        let mut upload = largest::open(caller)?;
        upload.send(&Shape::Circle { radius: 0.5 })?;
        drop::<Option<Shape>>(upload.finish()?);
        let started = text::start(caller, 1)?;
        drop::<std::borrow::Cow<'static, str>>(started.finish(caller)?);
        drop(StoreClient::new(caller).put("key", &Shape::Circle { radius: 0.5 })?);
        Ok(())
    };
}
