//! Descriptions there and back, and the errors of others.

use super::*;
use crate::schema::describe::{EndpointKind, Signature};
use crate::schema::payload::{
    EnumLayout, ErrorLayout, Field, Form, HeadField, HeadLayout, Layout, StructLayout, ValueType, Variant,
};

const POINT: Layout = Layout::Struct(StructLayout {
    name: "Point",
    doc: "",
    size: 8,
    align: 4,
    fields: &[
        Field { name: "x", layout: &Layout::Primitive(Primitive::F32), offset: 0 },
        Field { name: "y", layout: &Layout::Primitive(Primitive::F32), offset: 4 },
    ],
});

const SIDE: Layout = Layout::Enum(EnumLayout {
    name: "Side",
    doc: "Which way.",
    repr: Primitive::I8,
    variants: &[Variant { name: "Buy", value: -1 }, Variant { name: "Sell", value: 1 }],
});

const U32: ValueType = ValueType::Fixed(&Layout::Primitive(Primitive::U32));

const SCAN: ValueType = ValueType::Variable(&HeadLayout {
    name: "Scan",
    doc: "Of one turn.",
    len: 40,
    fields: &[
        HeadField { name: "taken_at", value_type: &ValueType::Fixed(&Layout::Primitive(Primitive::U64)), offset: 8 },
        HeadField { name: "frame", value_type: &ValueType::Text, offset: 16 },
        HeadField { name: "points", value_type: &ValueType::List(&ValueType::Fixed(&POINT)), offset: 24 },
        HeadField { name: "note", value_type: &ValueType::Option(&ValueType::Text), offset: 32 },
    ],
});

const FILTER: Signature = Signature::of(
    4,
    "filter",
    "Leaves out.",
    Form::Fields(&HeadLayout {
        name: "",
        doc: "",
        len: 24,
        fields: &[
            HeadField { name: "scan", value_type: &SCAN, offset: 4 },
            HeadField { name: "radius", value_type: &ValueType::Fixed(&Layout::Primitive(Primitive::F32)), offset: 12 },
            HeadField { name: "tags", value_type: &ValueType::List(&U32), offset: 16 },
        ],
    }),
    Form::Value(&SCAN),
    &[
        ErrorLayout {
            kind: ErrorKind::HandlerFailed,
            head: HeadLayout {
                name: "NoSensor",
                doc: "",
                len: 8,
                fields: &[HeadField { name: "sensor", value_type: &U32, offset: 4 }],
            },
        },
        ErrorLayout {
            kind: ErrorKind::Unavailable,
            head: HeadLayout { name: "Busy", doc: "Later.", len: 4, fields: &[] },
        },
    ],
);

const FILTER_JSON: &str = r#"{"schema":2,"types":[
    {"kind":"struct","name":"Point","size":8,"align":4,"fields":[
        {"name":"x","type":"f32","offset":0},{"name":"y","type":"f32","offset":4}]},
    {"kind":"struct","name":"Scan","doc":"Of one turn.","head":40,"fields":[
        {"name":"taken_at","type":"u64","offset":8},{"name":"frame","type":"str","offset":16},
        {"name":"points","type":{"list":{"ref":0}},"offset":24},{"name":"note","type":{"option":"str"},"offset":32}]}],
    "endpoints":[{"msg_type":4,"name":"filter","doc":"Leaves out.",
        "request":{"form":"fields","head":24,"fields":[{"name":"scan","type":{"ref":1},"offset":4},
            {"name":"radius","type":"f32","offset":12},{"name":"tags","type":{"list":"u32"},"offset":16}]},
        "reply":{"form":"value","type":{"ref":1}},
        "raises":[{"name":"NoSensor","head":8,"fields":[{"name":"sensor","type":"u32","offset":4}]},
            {"name":"Busy","kind":"Unavailable","doc":"Later."}]}]}"#;

fn squeezed(json: &str) -> String {
    json.lines().map(str::trim_start).collect()
}

#[test]
fn kinds_that_no_declared_error_has_are_left_out() {
    for (said, expected) in [
        (r#", "kind": "NotFound""#, ErrorKind::NotFound),
        (r#", "kind": "HandlerFailed""#, ErrorKind::HandlerFailed),
        ("", ErrorKind::HandlerFailed),
        (r#", "kind": null"#, ErrorKind::HandlerFailed),
        // A handler cannot promise that the call has not begun.
        (r#", "kind": "Stopping""#, ErrorKind::HandlerFailed),
        (r#", "kind": "OfANewerPeer""#, ErrorKind::HandlerFailed),
    ] {
        let json = format!(
            r#"{{"schema": 2, "endpoints": [{{"msg_type": 1, "name": "f", "request": {{"form": "empty"}},
                "reply": {{"form": "empty"}}, "raises": [{{"name": "E"{said}}}]}}]}}"#
        );
        assert_eq!(read(&json).unwrap().endpoints[0].raises[0].kind, expected, "{said}");
    }
}

#[test]
fn every_form_is_written_as_it_is_read() {
    let filter = EndpointDescription::from(&FILTER);
    assert_eq!(filter.to_string(), "filter(scan: Scan, radius: f32, tags: list[u32]) -> Scan raises NoSensor, Busy");
    let description = Description::new(vec![filter]);
    assert_eq!(description.to_json(), squeezed(FILTER_JSON));
    let read = read(FILTER_JSON).unwrap();
    assert_eq!(read, description);
    assert_eq!(read.to_json(), squeezed(FILTER_JSON));
    let sides = ValueType::Fixed(&Layout::Array { of: &SIDE, len: 2 });
    let last = [
        (Form::Empty, Form::Bytes, "last() -> bytes"),
        (Form::Value(&ValueType::Text), MAYBE_SCAN, "last(str) -> option[Scan]"),
        (Form::Bytes, Form::Value(&ValueType::List(&ValueType::Text)), "last(bytes) -> list[str]"),
        (Form::Value(Box::leak(Box::new(sides))), Form::Empty, "last([Side; 2])"),
    ];
    for (request, reply, head) in last {
        let last = EndpointDescription::from(&Signature::of(5, "last", "", request, reply, &[]));
        assert_eq!(last.to_string(), head);
        let description = Description::new(vec![last]);
        assert_eq!(super::read(&description.to_json()).unwrap(), description);
        assert_ne!(description, read);
    }
}

#[test]
fn a_default_is_read_and_written() {
    let json = FILTER_JSON.replace(r#""type":"f32","offset":12"#, r#""type":"f32","offset":12,"default":true"#);
    let description = read(&json).unwrap();
    let FormDescription::Fields(head) = &description.endpoints[0].request else { panic!("fields") };
    assert_eq!(head.fields.iter().map(|field| field.default).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(description.to_json(), squeezed(&json));
    assert_ne!(description, read(FILTER_JSON).unwrap());
}

#[test]
fn schema_1_is_read_and_written_as_2() {
    let old = r#"{"schema": 1, "endpoints": [{"msg_type": 2, "name": "f",
        "request": {"form": "payload", "layout": {"kind": "struct", "name": "P", "size": 4, "align": 4, "fields": [
            {"name": "a", "type": "u32", "offset": 0, "size": 4}]}},
        "reply": {"form": "slice", "layout": {"kind": "str", "len": 3}}}]}"#;
    let new = r#"{"schema": 2, "types": [{"kind": "struct", "name": "P", "size": 4, "align": 4, "fields": [
            {"name": "a", "type": "u32", "offset": 0}]}],
        "endpoints": [{"msg_type": 2, "name": "f", "request": {"form": "value", "type": {"ref": 0}},
            "reply": {"form": "value", "type": {"list": {"kind": "str", "len": 3}}}}]}"#;
    let description = read(old).unwrap();
    assert_eq!(description, read(new).unwrap());
    assert!(description.to_json().starts_with(r#"{"schema":2,"types":[{"kind":"struct","name":"P","#));
}

const SYMBOL: Form = Form::Fields(&HeadLayout {
    name: "",
    doc: "",
    len: 12,
    fields: &[HeadField { name: "symbol", value_type: &ValueType::Text, offset: 4 }],
});

const MAYBE_SCAN: Form = Form::Fields(&HeadLayout {
    name: "",
    doc: "",
    len: 12,
    fields: &[HeadField { name: "value", value_type: &ValueType::Option(&SCAN), offset: 4 }],
});

#[test]
fn streams_are_written_as_they_are_read() {
    const QUOTES: Signature = Signature::of(1, "quotes", "", SYMBOL, Form::Value(&SCAN), &[]).streaming();
    const UPLOAD: Signature = Signature::of(2, "upload", "", SYMBOL, Form::Value(&U32), &[]).with_items(MAYBE_SCAN);
    const CHAT: Signature =
        Signature::of(3, "chat", "", Form::Empty, Form::Empty, &[]).with_items(Form::Bytes).streaming();
    let shown = [QUOTES, UPLOAD, CHAT].map(|signature| {
        assert!(signature.is_typed());
        let described = EndpointDescription::from(&signature);
        assert_eq!(described.kind(), signature.kind());
        let description = Description::new(vec![described]);
        assert_eq!(read(&description.to_json()).unwrap(), description);
        (signature.kind().to_string(), description.endpoints[0].to_string())
    });
    for ((kind, head), expected) in shown.iter().zip([
        ("server stream", "quotes(symbol: str) -> stream of Scan"),
        ("client stream", "upload(symbol: str, items: stream of option[Scan]) -> u32"),
        ("two-way stream", "chat(items: stream of bytes) -> stream of empty"),
    ]) {
        assert_eq!((kind.as_str(), head.as_str()), expected);
    }
    let one = EndpointDescription::from(&CHAT.with_items(Form::Value(&U32)));
    assert_ne!(one, EndpointDescription::from(&CHAT));
    let chat = r#"{"msg_type":3,"name":"chat","request":{"form":"empty"},"items":{"form":"bytes"},
        "reply":{"form":"empty"},"stream":true}"#;
    let whole = Description::new(vec![(&CHAT).into()]);
    assert_eq!(whole.to_json(), squeezed(&format!(r#"{{"schema":3,"types":[],"endpoints":[{chat}]}}"#)));
}

/// An earlier reader refuses streams, and reads all other descriptions of this version.
#[test]
fn only_streams_need_the_new_schema() {
    let streams = EndpointDescription { streams: true, ..EndpointDescription::bytes(1, "ticks") };
    let items = EndpointDescription { items: Some(FormDescription::Bytes), ..EndpointDescription::bytes(2, "put") };
    let unary = EndpointDescription::bytes(3, "echo");
    for (endpoints, schema) in [
        (vec![unary.clone()], 2),
        (vec![unary.clone(), streams.clone()], 3),
        (vec![items.clone(), unary], 3),
        (vec![], 2),
    ] {
        let json = Description::new(endpoints).to_json();
        assert!(json.starts_with(&format!(r#"{{"schema":{schema},"#)), "{json}");
    }
    for stream in [streams, items] {
        let name = stream.name.clone();
        let old = Description::new(vec![stream]).to_json().replace(r#""schema":3"#, r#""schema":2"#);
        let error = read(&old).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} is a stream in schema 2")), "{error}");
    }
}

#[test]
fn items_have_the_forms_of_replies() {
    let with = |items: &str| {
        format!(
            r#"{{"schema": 3, "endpoints": [{{"msg_type": 1, "name": "put", "request": {{"form": "empty"}},
                "items": {items}, "reply": {{"form": "empty"}}}}]}}"#
        )
    };
    for (items, expected) in [
        (r#"{"form": "cbor"}"#, "the form `cbor`, which this version does not know"),
        (r#"{"form": "value"}"#, "the item of put has the form `value`, and no `type`"),
        (r#"{"form": "value", "type": {"option": "str"}}"#, "the item of put is an option with the form `value`"),
        (
            r#"{"form": "fields", "head": 12, "fields": [{"name": "a", "type": {"option": "str"}, "offset": 4}]}"#,
            "the item of put has fields that are not the one option `value`",
        ),
        ("true", "this is not the description of a callee"),
    ] {
        let error = read(&with(items)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (items, kind) in [(r#"{"form": "bytes"}"#, EndpointKind::ClientStream), ("null", EndpointKind::Unary)] {
        assert_eq!(read(&with(items)).unwrap().endpoints[0].kind(), kind);
    }
}

/// A description of one endpoint whose request is a `value_type`.
fn of(types: &str, value_type: &str) -> String {
    format!(
        r#"{{"schema": 2, "types": [{types}], "endpoints": [{{"msg_type": 1, "name": "e",
            "request": {{"form": "value", "type": {value_type}}}, "reply": {{"form": "empty"}}}}]}}"#
    )
}

fn refused(types: &str, value_type: &str) -> String {
    read(&of(types, value_type)).unwrap_err().to_string()
}

#[test]
fn references_lead_backwards_only() {
    for (types, value_type, found, known) in [
        ("", r#"{"ref": 0}"#, 0, 0),
        (r#"{"list": {"ref": 0}}"#, r#""u8""#, 0, 0),
        (r#""u8", {"list": {"ref": 2}}, "u8""#, r#""u8""#, 2, 1),
        (r#""u8""#, r#"{"ref": 18446744073709551615}"#, usize::MAX, 1),
    ] {
        let error = read(&of(types, value_type)).unwrap_err();
        assert!(
            matches!(error, DescribeError::Reference { found: at, known: of } if (at, of) == (found, known)),
            "{error}"
        );
    }
    assert!(refused("", r#"{"ref": -1}"#).contains("this is not the description of a callee"));
}

#[test]
fn contradictions_are_named() {
    let scan = |head, offset| {
        format!(
            r#"{{"kind": "struct", "name": "S", "head": {head},
                "fields": [{{"name": "a", "type": "u64", "offset": {offset}}}]}}"#
        )
    };
    for (types, value_type, expected) in [
        (scan(16, 4).as_str(), "\"u8\"", "field `a` of S is at offset 4, and belongs at offset 8"),
        (&scan(24, 8), "\"u8\"", "the head of S has 24 bytes, and its fields end at 16"),
        ("", "\"u9\"", "the type `u9`, which this version does not know"),
        ("", r#"{"tensor": "bool", "ndim": 2}"#, "a tensor of bool"),
        ("", r#"{"tensor": "f32", "ndim": 0}"#, "a tensor of f32 has 0 dimensions"),
        ("", r#"{"tensor": "f32", "ndim": 9}"#, "a tensor of f32 has 9 dimensions"),
        ("", r#"{"tensor": "f32"}"#, "missing field `ndim`"),
        ("", r#"{"tensor": {"list": "f32"}, "ndim": 2}"#, "the values of a tensor are numbers"),
        ("", r#"{"tensor": "f16", "ndim": 2}"#, "the type `f16`, which this version does not know"),
        ("", r#"{"kind": "map"}"#, "the type `map`"),
        ("", r#"{"of": "u8"}"#, "missing field `kind`"),
        ("", r#"{"option": "str"}"#, "an option with the form `value`; its form is `fields`"),
        ("", r#"{"list": {"option": "str"}}"#, "an option of str lies in a list"),
        ("", r#"{"kind": "array", "of": "str", "len": 2}"#, "an array of str has elements that are not fixed"),
        ("", r#"{"kind": "array", "of": "u64", "len": 1073741824}"#, "is 8589934592 bytes long, and the most is"),
        ("", r#"{"kind": "bytes", "len": 18446744073709551615}"#, "bytes long, and the most is 4294967295"),
        (
            r#"{"kind": "struct", "name": "S", "size": 8, "align": 4,
                "fields": [{"name": "a", "type": "str", "offset": 0}]}"#,
            "\"u8\"",
            "field `a` of S is not fixed, and S has no head",
        ),
        (r#"{"kind": "struct", "name": "S", "size": 8, "align": 3, "fields": []}"#, "\"u8\"", "aligned to 3"),
        (
            r#"{"kind": "struct", "name": "S", "head": 8004,
                "fields": [{"name": "a", "type": {"kind": "bytes", "len": 8000}, "offset": 4}]}"#,
            "\"u8\"",
            "the head of S is 8004 bytes long, and the most is 4096",
        ),
    ] {
        assert!(refused(types, value_type).contains(expected), "{expected}: {}", refused(types, value_type));
    }
    let form = |form: &str| FILTER_JSON.replace(r#"{"form":"value","type":{"ref":1}}"#, form);
    for (reply, expected) in [
        (r#"{"form": "cbor"}"#, "the form `cbor`, which this version does not know; update this side"),
        (r#"{"form": "value"}"#, "the reply of filter has the form `value`, and no `type`"),
        (r#"{"form": "fields", "head": 4, "fields": []}"#, "has the form `fields`, and no fields; its form is `empty`"),
        (
            r#"{"form": "fields", "head": 5, "fields": [{"name": "a", "type": "u8", "offset": 4}]}"#,
            "the reply of filter has fields that are not the one option `value`",
        ),
        (
            r#"{"form": "fields", "head": 5, "fields": [{"name": "value", "type": "u8", "offset": 4}]}"#,
            "the reply of filter has fields that are not the one option `value`",
        ),
    ] {
        let error = read(&form(reply)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let twice = FILTER_JSON.replace(r#""name":"Busy","kind":"Unavailable","doc":"Later.""#, r#""name":"NoSensor""#);
    assert!(read(&twice).unwrap_err().to_string().contains("filter has the name `NoSensor` twice"));
    for twice in [
        FILTER_JSON.replace(r#""name":"y""#, r#""name":"x""#),
        FILTER_JSON.replace("radius", "scan"),
        FILTER_JSON.replace("radius", "\u{b5}").replace("tags", "\u{3bc}"),
    ] {
        assert!(read(&twice).unwrap_err().to_string().ends_with("twice"), "{twice}");
    }
    let long = FILTER_JSON.replace("taken_at", &"x".repeat(300));
    assert!(matches!(read(&long), Err(DescribeError::TooLong { len: 300, most: MAX_NAME_LEN, .. })));
}

#[test]
fn a_later_schema_is_told_before_its_members_are_read() {
    let later = r#"{"schema": 4, "endpoints": {"by": "name"}}"#;
    assert!(matches!(read(later), Err(DescribeError::Schema { found: 4, known: SCHEMA })));
}

fn nested(arrays: usize, doc: &str) -> String {
    let innermost =
        format!(r#"{{"kind": "struct", "name": "S", "doc": "{doc}", "size": 0, "align": 1, "fields": []}}"#);
    let layout = (0..arrays).fold(innermost, |of, _| format!(r#"{{"kind": "array", "len": 1, "of": {of}}}"#));
    of("", &layout)
}

#[test]
fn deep_nesting_is_refused() {
    let deep = read(&nested(60, "a } text [ with \\\" brackets {{{{")).unwrap();
    assert_eq!(read(&deep.to_json()).unwrap(), deep);
    for (json, most) in [(nested(100, &"long".repeat(1000)), MAX_JSON_DEPTH), (nested(65, ""), MAX_DEPTH)] {
        let error = read(&json).unwrap_err();
        assert!(matches!(error, DescribeError::Nested { most: found } if found == most), "{error}");
    }
    let chain: Vec<_> = (0..65).map(|at| if at == 0 { "\"u8\"".to_owned() } else { list(at - 1) }).collect();
    let error = read(&of(&chain.join(","), &list(64))).unwrap_err();
    assert!(matches!(error, DescribeError::Nested { most: MAX_DEPTH }), "{error}");
    let deepest = read(&of(&chain[..64].join(","), r#"{"ref": 63}"#)).unwrap();
    assert_eq!(read(&deepest.to_json()).unwrap(), deepest);
}

fn list(at: usize) -> String {
    format!(r#"{{"list": {{"ref": {at}}}}}"#)
}

/// As a tree, without sharing, the type has 2^60 leaves.
#[test]
fn what_is_shared_is_looked_at_once() {
    let types: Vec<_> = (0..60)
        .map(|at| {
            let inner = if at == 0 { "\"u8\"".to_owned() } else { format!(r#"{{"ref": {}}}"#, at - 1) };
            let a = if at == 0 { (4, 5, 6) } else { (4, 12, 20) };
            format!(
                r#"{{"kind": "struct", "name": "S{at}", "head": {},
                    "fields": [{{"name": "a", "type": {inner}, "offset": {}}},
                    {{"name": "b", "type": {inner}, "offset": {}}}]}}"#,
                a.2, a.0, a.1
            )
        })
        .collect();
    let json = of(&types.join(","), r#"{"ref": 59}"#);
    let (one, other) = (read(&json).unwrap(), read(&json).unwrap());
    assert_eq!(one, other);
    assert_eq!(one.endpoints[0].request, other.endpoints[0].request);
    assert!(one.to_json().len() < json.len());
    assert!(format!("{one:?}").len() < 1000);
    one.endpoints[0].agree_with(&other.endpoints[0]).unwrap();
    assert!(crate::schema::codegen::rust(&one).len() < 100_000);
}
