//! A description as Rust: payload types, and a service trait.

use core::fmt::Write;

use super::names::{Taken, is_snake_case};
use super::types::{Types, allow, document};
use crate::describe::{Description, EndpointDescription, FormDescription};

/// Where rustfmt breaks a line.
const WIDTH: usize = 100;

/// Writes the payload types of a description and a service trait `Endpoints` with all its endpoints.
///
/// The macro makes the client and the table of it: `EndpointsClient` calls the callee that the description came from,
/// and anything that implements `Endpoints` can take its place.
///
/// ```
/// use tachyon::{Description, codegen};
///
/// let description = Description::from_json(
///     r#"{"schema": 1, "endpoints": [
///         {"msg_type": 4, "name": "sum", "doc": "Adds up.",
///          "request": {"form": "slice", "layout": "f64"}, "reply": {"form": "payload", "layout": "f64"}}]}"#,
/// )?;
/// let source = codegen::rust(&description);
/// assert!(source.contains("    #[rpc(msg_type = 4)]\n    fn sum(&self, request: &[f64]) -> Result<f64, String>;\n"));
/// # Ok::<(), tachyon::DescribeError>(())
/// ```
pub fn rust(description: &Description) -> String {
    let mut types =
        Types::new(&["Endpoints", "EndpointsClient", "EndpointsService", "Result", "String", "Vec", "Copy"]);
    let mut taken = Taken::with(&["new", "with_timeout"]);
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

fn method(endpoint: &EndpointDescription, types: &mut Types, taken: &mut Taken) -> String {
    let name = taken.claim(&endpoint.name);
    let request = match &endpoint.request {
        FormDescription::Empty => None,
        FormDescription::Bytes => Some("request: &[u8]".to_owned()),
        FormDescription::Payload { layout } => Some(format!("request: &{}", types.name(layout))),
        FormDescription::Slice { layout } => Some(format!("request: &[{}]", types.name(layout))),
    };
    let reply = match &endpoint.reply {
        FormDescription::Empty => "()".to_owned(),
        FormDescription::Bytes => "Vec<u8>".to_owned(),
        FormDescription::Payload { layout } => types.name(layout),
        FormDescription::Slice { layout } => format!("Vec<{}>", types.name(layout)),
    };
    let mut source = String::new();
    document(&mut source, "    ", &endpoint.doc, &format!("The endpoint `{}`.", endpoint.name));
    _ = writeln!(source, "    #[rpc(msg_type = {})]", endpoint.msg_type);
    allow(&mut source, "    ", is_snake_case(&name), "non_snake_case");
    let params: Vec<&str> = ["&self"].into_iter().chain(request.as_deref()).collect();
    let line = format!("    fn {name}({}) -> Result<{reply}, String>;", params.join(", "));
    if line.len() <= WIDTH {
        _ = writeln!(source, "{line}");
    } else {
        _ = writeln!(source, "    fn {name}(");
        for param in params {
            _ = writeln!(source, "        {param},");
        }
        _ = writeln!(source, "    ) -> Result<{reply}, String>;");
    }
    source
}
