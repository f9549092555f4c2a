//! Variable payloads of every form, in a crate that denies all warnings.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(rust_2018_idioms, let_underscore_drop, clippy::all, clippy::pedantic)]

use tachyon::List;
use tachyon::payload::{Argument, IntoView, Value, ValueType};

mod vendored {
    pub(crate) use ::tachyon as ipc;
}

/// A fixed payload.
#[tachyon::payload]
#[derive(Debug, PartialEq)]
struct Point {
    x: f32,
    y: f32,
}

/// Fields of every kind, of types known by their names and not.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
struct Scan {
    /// Nanoseconds since the epoch.
    taken_at: u64,
    origin: Point,
    frame: String,
    points: Vec<Point>,
    raw: Vec<u8>,
    grid: [[i16; 3]; 2],
    corners: [Point; 2],
    r#type: Option<Level>,
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
    cause: Cause,
    causes: Vec<Cause>,
    maybe: Option<Cause>,
    last: Option<Vec<String>>,
}

/// A fixed payload of one number.
#[tachyon::payload]
#[derive(Debug, PartialEq)]
#[repr(u8)]
enum Level {
    Low = 1,
    High,
}

type Name = String;

/// Aliases hide the types of the fields.
#[tachyon::payload(extensible)]
#[derive(Debug, Clone, PartialEq)]
struct Cause {
    name: Name,
    level: Level,
}

/// All fields are fixed, and the payload may grow.
#[vendored::ipc::payload(extensible, crate = crate::vendored::ipc)]
#[derive(Clone)]
struct Size {
    width: u32,
    height: u32,
}

/// Has grown by fields without a lifetime.
#[tachyon::payload(extensible)]
#[derive(Debug, Clone, PartialEq)]
struct Grown {
    depth: Option<u32>,
    width: u32,
    flags: Option<[bool; 2]>,
}

/// Not comparable, in a comparable payload.
#[tachyon::payload]
#[derive(PartialEq)]
struct Sizes {
    first: Size,
    unit: String,
}

impl PartialEq for Size {
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width && self.height == other.height
    }
}

macro_rules! made {
    ($name:ident, $field:ident: $ty:ty) => {
        /// Written by a macro.
        #[tachyon::payload]
        struct $name {
            $field: Vec<$ty>,
            number: $ty,
        }
    };
}
made!(Made, many: u16);
made!(MadeOf, many: Cause);

fn takes<'a, A: Argument<'a, Wire = W>, W: Value>() {}

fn passes<'s, W: Value>(value: impl IntoView<'s, W>) -> W {
    W::own(value.into_view())
}

fn main() {
    let cause = Cause { name: "wind".into(), level: Level::High };
    let scan = Scan {
        taken_at: 7,
        origin: Point { x: 0.0, y: 1.0 },
        frame: "base".into(),
        points: vec![Point { x: 1.0, y: 2.0 }; 2],
        raw: vec![1, 2],
        grid: [[1; 3]; 2],
        corners: [Point { x: 0.0, y: 0.0 }; 2],
        r#type: Some(Level::Low),
        names: vec!["a".into()],
        rows: vec![vec![1.0], vec![]],
        cause: cause.clone(),
        causes: vec![cause.clone(), cause.clone()],
        maybe: None,
        last: Some(vec!["z".into()]),
    };
    // The fields of views have the usual types.
    let view = ScanRef::from(&scan);
    let (at, frame, points): (u64, &str, &[Point]) = (view.taken_at, view.frame, view.points);
    assert_eq!((at, frame, points.len()), (7, "base", 2));
    let names: List<'_, String> = view.names;
    assert_eq!(names.iter().collect::<Vec<_>>(), ["a"]);
    let level: Option<Level> = view.r#type;
    let causes: List<'_, Cause> = view.causes;
    assert_eq!(causes.get(1).map(|cause: CauseRef<'_>| cause.name), Some("wind"));
    let raw: &[u8] = view.raw;
    assert_eq!((level, raw, view.grid[1][2]), (Some(Level::Low), &[1, 2][..], 1));
    let last: Option<List<'_, String>> = view.last;
    assert!(last.is_some() && view.maybe.is_none());
    // Views can be copied, compared, printed, and constructed from borrowed values.
    let copy = view;
    assert_eq!(copy, view);
    assert!(format!("{copy:?}").starts_with("ScanRef { taken_at: 7, "));
    let names = ["one", "two"];
    let made = ScanRef { names: names.as_slice().into(), frame: "other", ..copy };
    assert_ne!(made, copy);
    assert_eq!(made.into_owned().names, names);
    assert_eq!(view.into_owned(), scan);

    takes::<ScanRef<'_>, Scan>();
    takes::<Scan, Scan>();
    takes::<Option<CauseRef<'_>>, Option<Cause>>();
    assert_eq!(passes::<Cause>(&cause), cause);
    assert_eq!(passes::<Cause>(CauseRef { name: "wind", level: Level::High }), cause);
    assert_eq!(passes::<Option<Cause>>(Some(&cause)), Some(cause));
    assert_eq!(passes::<Vec<Cause>>(&[]), []);

    let ValueType::Variable(head) = Scan::TYPE else { panic!("a variable payload") };
    assert_eq!((head.name, head.fields[7].name), ("Scan", "type"));
    assert_eq!(head.doc, "Fields of every kind, of types known by their names and not.");
    let at: Vec<usize> = head.fields.iter().map(|field| field.offset).collect();
    assert_eq!(at, [8, 16, 24, 32, 40, 48, 60, 76, 84, 92, 100, 108, 116, 124]);
    assert_eq!(head.len, 132);
    let ValueType::List(ValueType::Variable(cause)) = head.fields[11].value_type else { panic!("a list") };
    assert_eq!((cause.name, cause.fields[0].value_type), ("Cause", &ValueType::Text));

    let size = Size { width: 1, height: 2 };
    let sizes = Sizes { first: size.clone(), unit: "px".into() };
    let lent = SizesRef::from(&sizes);
    assert_eq!((lent.first.width, lent.first.into_owned().height, lent.unit), (1, 2, "px"));
    assert!(sizes == lent.into_owned() && size == SizeRef::from(&size).into_owned());
    let grown = Grown { depth: Some(1), width: 2, flags: None };
    let lent = GrownRef::from(&grown);
    assert_eq!((lent.depth, lent.width, lent.flags), (Some(1), 2, None));
    assert_eq!(lent.into_owned(), grown);
    assert_eq!(replaced(view), "local");
    let made = Made { many: vec![1], number: 2 };
    assert_eq!((MadeRef::from(&made).many, made.number), (&[1][..], 2));
    let made = MadeOf { many: vec![], number: sizes_cause() };
    assert_eq!(MadeOfRef::from(&made).number.name, "none");
    assert!(made.many.is_empty());
}

/// A view takes fields with a shorter lifetime.
fn replaced(view: ScanRef<'_>) -> String {
    let (frame, causes) = (String::from("local"), [sizes_cause()]);
    let made = ScanRef { frame: &frame, causes: causes.as_slice().into(), ..view.shorten() };
    made.frame.to_owned()
}

fn sizes_cause() -> Cause {
    Cause { name: "none".into(), level: Level::Low }
}
