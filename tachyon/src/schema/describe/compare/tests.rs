//! Sides that agree, and the differences of others.

use core::fmt::Write;

use super::*;
use crate::schema::describe::Description;

fn endpoint(request: &str) -> EndpointDescription {
    let json = format!(
        r#"{{"schema": 1, "endpoints": [{{"msg_type": 2, "name": "price", "request": {request},
            "reply": {{"form": "empty"}}}}]}}"#
    );
    Description::from_json(&json).unwrap().endpoints.remove(0)
}

fn of_struct(size: usize, fields: &str) -> String {
    format!(
        r#"{{"form": "payload", "layout": {{"kind": "struct", "name": "PriceRequest", "size": {size}, "align": 8,
            "fields": [{fields}]}}}}"#
    )
}

fn differ(here: &str, there: &str) -> String {
    compare(&endpoint(here), &endpoint(there)).unwrap_err().to_string()
}

fn agree(here: &str, there: &str) {
    compare(&endpoint(here), &endpoint(there)).unwrap();
    compare(&endpoint(there), &endpoint(here)).unwrap();
}

const I64: &str = r#"{"name": "quantity", "type": "i64", "offset": 8, "size": 8}"#;

#[test]
fn a_difference_names_the_field_and_both_sides() {
    let here = of_struct(16, I64);
    let there = of_struct(16, r#"{"name": "quantity", "type": "i32", "offset": 8, "size": 4}"#);
    assert_eq!(
        differ(&here, &there),
        "price: field `quantity` of PriceRequest is i64 at offset 8 here, i32 at offset 8 at the callee"
    );
    let there = of_struct(16, r#"{"name": "quantity", "type": "f64", "offset": 8, "size": 8}"#);
    assert!(differ(&here, &there).ends_with("is i64 at offset 8 here, f64 at offset 8 at the callee"));
    let there = of_struct(16, r#"{"name": "amount", "type": "i64", "offset": 8, "size": 8}"#);
    assert!(differ(&here, &there).contains("`quantity` of PriceRequest is i64 at offset 8 here, missing"));
    let there = of_struct(16, &format!(r#"{I64}, {{"name": "x", "type": "u8", "offset": 0, "size": 1}}"#));
    assert!(differ(&here, &there).contains("`x` of PriceRequest is missing here, u8 at offset 0 at the callee"));
    assert!(differ(&here, &of_struct(24, I64)).contains("PriceRequest has 16 bytes here, 24 at the callee"));
}

#[test]
fn forms_differ_in_words_and_bytes_fit_everything() {
    let slice = r#"{"form": "slice", "layout": "f64"}"#;
    assert_eq!(differ(slice, r#"{"form": "empty"}"#), "price: the request is list[f64] here, empty at the callee");
    assert_eq!(
        differ(slice, r#"{"form": "slice", "layout": "f32"}"#),
        "price: each element of the request is f64 here, f32 at the callee"
    );
    assert_eq!(
        differ(slice, r#"{"form": "payload", "layout": "f64"}"#),
        "price: the request is list[f64] here, f64 at the callee"
    );
    agree(slice, r#"{"form": "bytes"}"#);
}

#[test]
fn padding_and_names_of_byte_arrays_do_not_matter() {
    let field = |ty: &str| format!(r#"{{"name": "id", "type": {ty}, "offset": 0, "size": 4}}"#);
    let pad = r#"{"name": "_pad", "type": {"kind": "array", "of": "u8", "len": 4}, "offset": 4, "size": 4}"#;
    let array = of_struct(8, &format!("{}, {pad}", field(r#"{"kind": "array", "of": "u8", "len": 4}"#)));
    agree(&array, &of_struct(8, &field(r#"{"kind": "str", "len": 4}"#)));
    agree(&array, &of_struct(8, &field(r#"{"kind": "bytes", "len": 4}"#)));
    assert!(differ(&array, &of_struct(8, &field(r#"{"kind": "array", "of": "i8", "len": 4}"#))).contains("u8"));
}

#[test]
fn enums_agree_on_names_and_numbers() {
    let side = |variants: &str| {
        format!(
            r#"{{"form": "payload", "layout": {{"kind": "enum", "name": "Side", "repr": "u8",
                "variants": [{variants}]}}}}"#
        )
    };
    let (buy, sell) = (r#"{"name": "Buy", "value": 1}"#, r#"{"name": "Sell", "value": 2}"#);
    agree(&side(&format!("{buy}, {sell}")), &side(&format!("{sell}, {buy}")));
    assert!(differ(&side(buy), &side(sell)).contains("variant `Buy` of Side is 1 here, missing at the callee"));
    assert!(differ(&side(buy), &side(&format!("{buy}, {sell}"))).contains("`Sell` of Side is missing here, 2"));
    assert!(differ(&side(buy), &side(r#"{"name": "Buy", "value": 7}"#)).contains("is 1 here, 7 at the callee"));
}

#[test]
fn names_that_only_a_trailing_underscore_tells_apart_are_two() {
    let two = |first: &str, second: &str| {
        of_struct(
            16,
            &format!(
                r#"{{"name": "{first}", "type": "i64", "offset": 0, "size": 8}},
                    {{"name": "{second}", "type": "f64", "offset": 8, "size": 8}}"#
            ),
        )
    };
    agree(&two("a", "a_"), &two("a", "a_"));
    agree(&two("a_", "a"), &two("a_", "a"));
    agree(&two("class", "b"), &two("class_", "b"));
    assert!(
        differ(&two("a", "a_"), &two("a_", "a")).contains("field `a` of PriceRequest is i64 at offset 0 here, f64")
    );
    let side = |variants: &str| {
        format!(
            r#"{{"form": "payload", "layout": {{"kind": "enum", "name": "Side", "repr": "u8",
                "variants": [{variants}]}}}}"#
        )
    };
    let both = side(r#"{"name": "Buy_", "value": 1}, {"name": "Buy", "value": 2}"#);
    agree(&both, &both);
}

/// An endpoint `filter` in schema 2, which may refer to `types`.
fn filter(types: &str, request: &str, reply: &str, raises: &str) -> EndpointDescription {
    let json = format!(
        r#"{{"schema": 2, "types": [{types}], "endpoints": [{{"msg_type": 4, "name": "filter",
            "request": {request}, "reply": {reply}, "raises": [{raises}]}}]}}"#
    );
    Description::from_json(&json).unwrap().endpoints.remove(0)
}

const SCAN: &str = r#"{"kind": "struct", "name": "Scan", "head": 20, "fields": [
    {"name": "frame", "type": "str", "offset": 4}, {"name": "note", "type": {"option": "str"}, "offset": 12}]}"#;
const EMPTY: &str = r#"{"form": "empty"}"#;

/// An endpoint that takes a scan, then these arguments: name, type and size.
fn takes(arguments: &[(&str, &str, usize)]) -> EndpointDescription {
    let mut fields = String::from(r#"{"name": "scan", "type": {"ref": 0}, "offset": 4}"#);
    let mut end = 12usize;
    for (name, value_type, size) in arguments {
        let align = if value_type.contains("option") || value_type.contains("list") { 4 } else { *size };
        let offset = end.next_multiple_of(align);
        write!(fields, r#", {{"name": "{name}", "type": {value_type}, "offset": {offset}}}"#).unwrap();
        end = offset + size;
    }
    filter(SCAN, &format!(r#"{{"form": "fields", "head": {end}, "fields": [{fields}]}}"#), EMPTY, "")
}

fn difference(here: &EndpointDescription, there: &EndpointDescription) -> String {
    let mismatch = here.agree_with(there).unwrap_err();
    assert_eq!((mismatch.endpoint.as_str(), &mismatch.to_string()), ("filter", &mismatch.difference));
    mismatch.difference
}

#[test]
fn arguments_are_compared_by_position() {
    let radius = takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"list": "u32"}"#, 8)]);
    radius.agree_with(&radius).unwrap();
    assert_eq!(
        difference(&radius, &takes(&[("radius", r#""f64""#, 8), ("tags", r#"{"list": "u32"}"#, 8)])),
        "argument `radius` of filter is f32 at offset 12 here, f64 at offset 16 at the callee"
    );
    assert_eq!(
        difference(&radius, &takes(&[("gain", r#""f32""#, 4), ("tags", r#"{"list": "u32"}"#, 8)])),
        "argument 2 of filter is `radius` here, `gain` at the callee"
    );
    assert_eq!(
        difference(&radius, &takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"list": "u8"}"#, 8)])),
        "filter: each element of argument `tags` is u32 here, u8 at the callee"
    );
    assert_eq!(
        difference(&radius, &takes(&[("radius", r#""f32""#, 4), ("tags", r#"{"option": "str"}"#, 8)])),
        "filter: argument `tags` is list[u32] here, option[str] at the callee"
    );
    assert_eq!(
        difference(&takes(&[("class", r#""u8""#, 1)]), &takes(&[("class_", r#""bool""#, 1)])),
        "argument `class` of filter is u8 at offset 12 here, bool at offset 12 at the callee"
    );
    takes(&[("class", r#""u8""#, 1)]).agree_with(&takes(&[("class_", r#""u8""#, 1)])).unwrap();
}

#[test]
fn what_one_side_has_more_at_the_end_may_be_absent() {
    let (old, gain) = (takes(&[]), ("gain", r#"{"option": "f64"}"#, 8));
    for newer in [takes(&[gain]), takes(&[gain, ("tags", r#"{"option": {"list": "str"}}"#, 8)])] {
        old.agree_with(&newer).unwrap();
        newer.agree_with(&old).unwrap();
    }
    let needed = takes(&[gain, ("tags", r#"{"list": "str"}"#, 8)]);
    assert_eq!(
        difference(&needed, &old),
        "argument `tags` of filter is missing at the callee, and is not optional here: make it optional \
         (`Option<Vec<String>>`, in Python `... | None`)"
    );
    assert_eq!(
        difference(&old, &needed),
        "argument `tags` of filter is missing here, and is not optional at the callee: make it optional \
         (`Option<Vec<String>>`, in Python `... | None`) there"
    );
    // The receiver has a value for a field with a default.
    let defaulted = |default| {
        let scan = format!(
            r#"{{"kind": "struct", "name": "Scan", "head": 16,
                "fields": [{{"name": "gain", "type": "f64", "offset": 8{default}}}]}}"#
        );
        filter(&scan, r#"{"form": "value", "type": {"ref": 0}}"#, EMPTY, "")
    };
    let empty = filter(
        r#"{"kind": "struct", "name": "Scan", "head": 4, "fields": []}"#,
        r#"{"form": "value", "type": {"ref": 0}}"#,
        EMPTY,
        "",
    );
    defaulted(r#", "default": true"#).agree_with(&empty).unwrap();
    empty.agree_with(&defaulted(r#", "default": true"#)).unwrap();
    assert_eq!(
        difference(&defaulted(""), &empty),
        "filter: field `gain` of Scan is missing at the callee, and is not optional here: make it optional \
         (`Option<f64>`, in Python `... | None`)"
    );
}

#[test]
fn one_value_is_not_the_fields() {
    let one = filter(SCAN, r#"{"form": "value", "type": {"ref": 0}}"#, EMPTY, "");
    let two = takes(&[("radius", r#""f32""#, 4)]);
    assert_eq!(difference(&one, &two), "filter takes one Scan here, the fields `scan`, `radius` at the callee");
    assert_eq!(difference(&two, &one), "filter takes the fields `scan`, `radius` here, one Scan at the callee");
    let empty = filter("", EMPTY, EMPTY, "");
    assert_eq!(
        difference(&two, &empty),
        "filter: the request is the fields `scan`, `radius` here, empty at the callee"
    );
    two.agree_with(&filter("", r#"{"form": "bytes"}"#, EMPTY, "")).unwrap();
    let gives = |reply: &str| filter(SCAN, EMPTY, reply, "");
    let maybe =
        r#"{"form": "fields", "head": 12, "fields": [{"name": "value", "type": {"option": {"ref": 0}}, "offset": 4}]}"#;
    assert_eq!(
        difference(&gives(maybe), &gives(r#"{"form": "value", "type": {"ref": 0}}"#)),
        "filter: the reply is option[Scan] here, Scan at the callee"
    );
    assert_eq!(difference(&gives(maybe), &empty), "filter: the reply is option[Scan] here, empty at the callee");
    assert_eq!(
        difference(&gives(maybe), &gives(&maybe.replace(r#"{"ref": 0}"#, "\"u8\""))),
        "filter: the reply is Scan here, u8 at the callee"
    );
    gives(maybe).agree_with(&gives(maybe)).unwrap();
}

/// An endpoint `filter` with streams.
fn streams(items: Option<&str>, reply: &str, streams: bool) -> EndpointDescription {
    let items = items.map_or_else(String::new, |items| format!(r#""items": {items},"#));
    let json = format!(
        r#"{{"schema": 3, "types": [{SCAN}], "endpoints": [{{"msg_type": 4, "name": "filter",
            "request": {{"form": "bytes"}}, {items} "reply": {reply}, "stream": {streams}}}]}}"#
    );
    Description::from_json(&json).unwrap().endpoints.remove(0)
}

#[test]
fn a_stream_is_a_stream_on_both_sides() {
    let bytes = r#"{"form": "bytes"}"#;
    let all = [
        (streams(None, bytes, false), "unary"),
        (streams(None, bytes, true), "a server stream"),
        (streams(Some(bytes), bytes, false), "a client stream"),
        (streams(Some(bytes), bytes, true), "a two-way stream"),
    ];
    for (here, ours) in &all {
        for (there, theirs) in &all {
            if ours == theirs {
                here.agree_with(there).unwrap();
            } else {
                assert_eq!(difference(here, there), format!("filter is {ours} here, {theirs} at the callee"));
            }
        }
    }
}

#[test]
fn items_are_compared_as_replies_are() {
    let scan = r#"{"form": "value", "type": {"ref": 0}}"#;
    let list = |of: &str| format!(r#"{{"form": "value", "type": {{"list": "{of}"}}}}"#);
    let maybe =
        r#"{"form": "fields", "head": 12, "fields": [{"name": "value", "type": {"option": {"ref": 0}}, "offset": 4}]}"#;
    let takes = |items: &str| streams(Some(items), EMPTY, false);
    let gives = |reply: &str| streams(None, reply, true);
    for (ours, theirs, difference_of) in [
        (scan, list("u8").as_str(), "is Scan here, list[u8] at the callee"),
        (scan, maybe, "is Scan here, option[Scan] at the callee"),
        (maybe, EMPTY, "is option[Scan] here, empty at the callee"),
        (EMPTY, r#"{"form": "msgpack"}"#, "is empty here, msgpack at the callee"),
    ] {
        assert_eq!(difference(&takes(ours), &takes(theirs)), format!("filter: each item {difference_of}"));
        assert_eq!(difference(&gives(ours), &gives(theirs)), format!("filter: each reply {difference_of}"));
        takes(ours).agree_with(&takes(ours)).unwrap();
        takes(ours).agree_with(&takes(r#"{"form": "bytes"}"#)).unwrap();
    }
    assert_eq!(
        difference(&takes(&list("u8")), &takes(&list("u16"))),
        "filter: each element of each item is u8 here, u16 at the callee"
    );
}

#[test]
fn texts_lists_and_payloads_with_a_head_are_compared_inside() {
    let of = |value_type: &str| filter(SCAN, &format!(r#"{{"form": "value", "type": {value_type}}}"#), EMPTY, "");
    let text = of(r#""str""#);
    text.agree_with(&text).unwrap();
    assert_eq!(
        difference(&text, &of(r#"{"kind": "str", "len": 4}"#)),
        "filter: the request is str here, str[4] at the callee"
    );
    let scans = of(r#"{"list": {"ref": 0}}"#);
    scans.agree_with(&of(r#"{"list": {"ref": 0}}"#)).unwrap();
    let other = SCAN.replace(r#""type": "str""#, r#""type": {"list": "u8"}"#);
    let other = filter(&other, r#"{"form": "value", "type": {"list": {"ref": 0}}}"#, EMPTY, "");
    assert_eq!(difference(&scans, &other), "filter: field `frame` of Scan is str here, list[u8] at the callee");
    let fixed = r#"{"kind": "struct", "name": "Scan", "size": 4, "align": 4, "fields": []}"#;
    assert_eq!(
        difference(&scans, &filter(fixed, r#"{"form": "value", "type": {"list": {"ref": 0}}}"#, EMPTY, "")),
        "filter: each element of the request is a payload Scan with a head here, a fixed payload Scan at the callee"
    );
}

#[test]
fn errors_of_one_name_have_one_set_of_fields() {
    let raises = |errors: &str| filter("", EMPTY, EMPTY, errors);
    let no_sensor = |value_type: &str, size: usize| {
        format!(
            r#"{{"name": "NoSensor", "head": {},
                "fields": [{{"name": "sensor", "type": {value_type}, "offset": 4}}]}}"#,
            size + 4
        )
    };
    let here = raises(&no_sensor(r#""u32""#, 4));
    here.agree_with(&raises(r#"{"name": "Busy"}"#)).unwrap();
    let two = raises(&format!(r#"{{"name": "NoSensor_"}}, {}"#, no_sensor(r#""u32""#, 4)));
    two.agree_with(&two).unwrap();
    here.agree_with(&two).unwrap();
    here.agree_with(&raises(&format!(r#"{{"name": "Busy"}}, {}"#, no_sensor(r#""u32""#, 4)))).unwrap();
    assert_eq!(
        difference(&here, &raises(&no_sensor(r#""u16""#, 2))),
        "filter: field `sensor` of NoSensor is u32 at offset 4 here, u16 at offset 4 at the callee"
    );
    assert_eq!(
        difference(&here, &raises(r#"{"name": "NoSensor"}"#)),
        "filter: field `sensor` of NoSensor is missing at the callee, and is not optional here: make it optional \
         (`Option<u32>`, in Python `... | None`)"
    );
}

/// In Python's form NFKC the micro sign is the letter mu; in Rust's form NFC it stays the micro sign.
#[test]
fn names_are_compared_in_one_unicode_form() {
    let named = |name: &str| takes(&[(name, r#""u8""#, 1)]);
    for (one, other) in [("\u{b5}", "\u{3bc}"), ("gro\u{308}\u{df}e", "gr\u{f6}\u{df}e"), ("\u{fb01}_", "fi")] {
        named(one).agree_with(&named(other)).unwrap();
        let of = |name: &str| of_struct(8, &I64.replace("quantity", name));
        agree(&of(one), &of(other));
    }
    assert!(named("\u{3bc}").agree_with(&named("m")).is_err());
}
