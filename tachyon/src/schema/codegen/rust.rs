//! A description as Rust source: payload types, and a service trait.

use core::fmt::Write;
use std::collections::HashSet;
use std::sync::Arc;

use super::names::{Taken, is_snake_case};
use super::types::{Types, allow, document};
use crate::schema::describe::{
    Description, EndpointDescription, EndpointKind, FormDescription, HeadDescription, TypeDescription,
};
use crate::schema::payload::LONGEST_BY_VALUE;

/// Longest line that rustfmt keeps, in characters.
const WIDTH: usize = 100;

/// Names in generated code. No type of the callee may have one of them.
const USED: [&str; 23] = [
    "Endpoints",
    "EndpointsClient",
    "EndpointsService",
    "EndpointsStarter",
    "Result",
    "String",
    "Vec",
    "Option",
    "Iterator",
    "str",
    "Copy",
    "tachyon",
    "u8",
    "u16",
    "u32",
    "u64",
    "i8",
    "i16",
    "i32",
    "i64",
    "f32",
    "f64",
    "bool",
];

/// Writes the payload types and errors of a description, and a service trait `Endpoints` with its endpoints.
///
/// The macro makes a client of the trait: `EndpointsClient` calls the callee of the description. A type that implements
/// `Endpoints` can take the place of that callee. An endpoint with a value that Rust would pass by value and that is
/// larger than 64 KiB is left out, with a comment.
///
/// A method with a stream of replies returns an iterator, and one with a stream of requests takes `tachyon::Items`; the
/// client's method opens the stream.
///
/// ```
/// use tachyon::codegen;
/// use tachyon::describe::Description;
///
/// let description = Description::from_json(
///     r#"{"schema": 1, "endpoints": [
///         {"msg_type": 4, "name": "sum", "doc": "Adds up.",
///          "request": {"form": "slice", "layout": "f64"}, "reply": {"form": "payload", "layout": "f64"}}]}"#,
/// )?;
/// let source = codegen::rust(&description);
/// assert!(source.contains("    #[rpc(msg_type = 4)]\n    fn sum(&self, request: &[f64]) -> Result<f64, String>;\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rust(description: &Description) -> String {
    let mut types = Types::new(&USED);
    // Methods of the client.
    let mut taken =
        Taken::with(&["new", "within", "metadata", "idempotent", "window", "starting", "get_mut", "into_inner"]);
    let methods: Vec<String> =
        description.endpoints.iter().map(|endpoint| method(endpoint, &mut types, &mut taken)).collect();
    let mut source = String::from("// Generated from a callee's description by `tachyon codegen rust`.\n");
    source.push_str(&types.source);
    source.push_str("\n/// The endpoints of the callee.\n#[tachyon::tachyon_rpc]\npub trait Endpoints {");
    source.push_str(if methods.is_empty() { "" } else { "\n" });
    source.push_str(&methods.join("\n"));
    source.push_str("}\n");
    source
}

/// The size in bytes of a value that is too large to be passed by value; `None` if the endpoint has none.
fn too_large(endpoint: &EndpointDescription) -> Option<usize> {
    // A shared payload is visited once: the number of paths to it may be exponential.
    let mut seen = HashSet::new();
    let mut in_form = |form: &FormDescription| match form {
        FormDescription::Empty | FormDescription::Bytes | FormDescription::Msgpack => None,
        FormDescription::Value(value_type) => too_large_option(value_type, &mut seen),
        FormDescription::Fields(head) => {
            head.fields.iter().find_map(|field| too_large_option(&field.value_type, &mut seen))
        }
    };
    let whole = |form: &FormDescription| match form {
        FormDescription::Value(value_type) if value_type.is_fixed() => Some(value_type.size()),
        _ => None,
    };
    let by_value = |form| whole(form).filter(|size| *size > LONGEST_BY_VALUE);
    // An endpoint that takes items owns its request.
    let owned = endpoint.items.as_ref().and_then(|items| by_value(items).or_else(|| by_value(&endpoint.request)));
    by_value(&endpoint.reply)
        .or(owned)
        .or_else(|| in_form(&endpoint.reply))
        .or_else(|| in_form(&endpoint.request))
        .or_else(|| endpoint.items.as_ref().and_then(in_form))
}

fn too_large_option(value_type: &TypeDescription, seen: &mut HashSet<*const HeadDescription>) -> Option<usize> {
    match value_type {
        TypeDescription::Option(of) if of.is_fixed() => Some(of.size()).filter(|size| *size > LONGEST_BY_VALUE),
        TypeDescription::Option(of) | TypeDescription::List(of) => too_large_option(of, seen),
        TypeDescription::Variable(head) if seen.insert(Arc::as_ptr(head)) => {
            head.fields.iter().find_map(|field| too_large_option(&field.value_type, seen))
        }
        _ => None,
    }
}

fn method<'a>(endpoint: &'a EndpointDescription, types: &mut Types<'a>, taken: &mut Taken) -> String {
    let name = taken.claim(&endpoint.name);
    if let Some(size) = too_large(endpoint) {
        let msg_type = endpoint.msg_type;
        return format!(
            "    // `{name}` (msg_type {msg_type}) is left out: Rust takes and gives no value of {size} bytes by \
             value.\n"
        );
    }
    let forms = [&endpoint.request, &endpoint.reply].into_iter().chain(&endpoint.items);
    if forms.into_iter().any(|form| *form == FormDescription::Msgpack) {
        let msg_type = endpoint.msg_type;
        return format!(
            "    // `{name}` (msg_type {msg_type}) is left out: a description has no types of values in msgpack.\n"
        );
    }
    let kind = endpoint.kind();
    let sends = (kind == EndpointKind::TwoWayStream).then_some(&endpoint.reply);
    if endpoint.items.iter().chain(sends).any(is_empty) {
        let msg_type = endpoint.msg_type;
        return format!("    // `{name}` (msg_type {msg_type}) is left out: Rust has no streams of empty items.\n");
    }
    let has_items = endpoint.items.is_some();
    let mut params = vec!["&self".to_owned()];
    let mut taken = Taken::default();
    match &endpoint.request {
        FormDescription::Empty => {}
        FormDescription::Fields(head) => params.extend(head.fields.iter().map(|field| {
            let name = taken.claim(&field.name);
            let ty = if has_items { types.owned(&field.value_type) } else { types.lent(&field.value_type) };
            format!("{name}: {ty}")
        })),
        form if has_items => params.push(format!("{}: {}", taken.claim("request"), owned(form, types))),
        FormDescription::Bytes | FormDescription::Msgpack => params.push("request: &[u8]".to_owned()),
        // A fixed payload that is the whole message is lent in place.
        FormDescription::Value(value_type) if value_type.is_fixed() => {
            params.push(format!("request: &{}", types.owned(value_type)));
        }
        FormDescription::Value(value_type) => params.push(format!("request: {}", types.lent(value_type))),
    }
    let reply = owned(&endpoint.reply, types);
    if let Some(items) = &endpoint.items {
        params.push(format!("{}: tachyon::Items<{}>", taken.claim("items"), owned(items, types)));
    }
    let error = types.errors(endpoint).unwrap_or_else(|| "String".to_owned());
    let returned = match kind {
        EndpointKind::ServerStream => format!("impl Iterator<Item = Result<{reply}, {error}>> + 'static"),
        EndpointKind::TwoWayStream => {
            params.push(format!("{}: tachyon::StreamSender<{reply}>", taken.claim("out")));
            format!("Result<(), {error}>")
        }
        EndpointKind::Unary | EndpointKind::ClientStream => format!("Result<{reply}, {error}>"),
    };
    let mut source = String::new();
    document(&mut source, "    ", &endpoint.doc, &format!("The endpoint `{}`.", endpoint.name));
    _ = writeln!(source, "    #[rpc(msg_type = {})]", endpoint.msg_type);
    let is_snake = params.iter().all(|param| param.split(": ").next().is_some_and(is_snake_case));
    allow(&mut source, "    ", is_snake && is_snake_case(&name), "non_snake_case");
    let line = format!("    fn {name}({}) -> {returned};", params.join(", "));
    if line.chars().count() <= WIDTH {
        _ = writeln!(source, "{line}");
    } else {
        _ = writeln!(source, "    fn {name}(");
        for param in params {
            _ = writeln!(source, "        {param},");
        }
        _ = writeln!(source, "    ) -> {returned};");
    }
    source
}

/// Whether the messages of a form have no value.
fn is_empty(form: &FormDescription) -> bool {
    match form {
        FormDescription::Empty => true,
        FormDescription::Fields(head) => head.fields.is_empty(),
        FormDescription::Bytes | FormDescription::Value(_) | FormDescription::Msgpack => false,
    }
}

/// The type of an owned message.
fn owned<'a>(form: &'a FormDescription, types: &mut Types<'a>) -> String {
    match form {
        FormDescription::Empty | FormDescription::Msgpack => "()".to_owned(),
        FormDescription::Bytes => "Vec<u8>".to_owned(),
        FormDescription::Value(value_type) => types.owned(value_type),
        FormDescription::Fields(head) => match &head.fields[..] {
            [value, ..] => types.owned(&value.value_type),
            [] => "()".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_refuses_by_value_is_left_out() {
        let big = r#"{"kind": "array", "of": "u8", "len": 65537}"#;
        let json = format!(
            r#"{{"schema": 1, "endpoints": [
                {{"msg_type": 1, "name": "gives", "request": {{"form": "empty"}},
                  "reply": {{"form": "payload", "layout": {big}}}}},
                {{"msg_type": 2, "name": "takes", "request": {{"form": "payload", "layout": {big}}},
                  "reply": {{"form": "empty"}}}}]}}"#
        );
        let source = rust(&Description::from_json(&json).unwrap());
        assert!(source.contains("// `gives` (msg_type 1) is left out: Rust takes and gives no value of 65537 bytes"));
        assert!(source.contains("fn takes(&self, request: &[u8; 65537]) -> Result<(), String>;"), "{source}");
    }

    #[test]
    fn streams_are_iterators_and_items() {
        let text = FormDescription::Value(TypeDescription::Text);
        let quotes = EndpointDescription { streams: true, ..EndpointDescription::bytes(2, "quotes") };
        let upload = EndpointDescription { items: Some(text.clone()), ..EndpointDescription::bytes(3, "upload") };
        let chat = EndpointDescription {
            streams: true,
            name: "chat".to_owned(),
            request: FormDescription::Empty,
            reply: text,
            ..upload.clone()
        };
        let source = rust(&Description::new(vec![quotes, upload, chat]));
        for line in [
            "fn quotes(&self, request: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, String>> + 'static;",
            "fn upload(&self, request: Vec<u8>, items: tachyon::Items<String>) -> Result<Vec<u8>, String>;",
            "    items: tachyon::Items<String>,\n        out: tachyon::StreamSender<String>,\n    ) -> Result<(), ",
        ] {
            assert!(source.contains(line), "{source}");
        }
    }

    #[test]
    fn a_type_cannot_take_the_place_of_what_generated_code_names() {
        for name in USED {
            let json = format!(
                r#"{{"schema": 1, "endpoints": [{{"msg_type": 1, "name": "f", "reply": {{"form": "empty"}}, "request":
                    {{"form": "payload", "layout": {{"kind": "struct", "name": "{name}", "size": 1, "align": 1,
                        "fields": [{{"name": "a", "type": "u8", "offset": 0, "size": 1}}]}}}}}}]}}"#
            );
            let source = rust(&Description::from_json(&json).unwrap());
            assert!(source.contains(&format!("pub struct {name}_ {{\n")), "{source}");
            assert!(source.contains("pub a: u8,"), "{source}");
        }
    }
}
