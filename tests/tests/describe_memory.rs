//! A description of a hostile callee takes memory in proportion to its length, for every kind of content.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tachyon::describe::Description;
use tachyon_tests::allocation::{Counting, peak_of};

/// Most bytes of memory for each byte of JSON, to read the description and to write it.
const MOST: usize = 24;

#[global_allocator]
static COUNTING: Counting = Counting;

// One test, since the count is the process's.
#[test]
fn reading_and_writing_take_memory_in_proportion() {
    const COUNT: usize = 20_000;
    let many = |part: &str| vec![part; COUNT].join(",");
    let types = |types: &str| format!(r#"{{"schema": 2, "types": [{types}], "endpoints": []}}"#);
    let lists = (0..30).fold("\"u8\"".to_owned(), |of, _| format!(r#"{{"list":{of}}}"#));
    let structs = (0..20).fold("\"u8\"".to_owned(), |of, _| {
        format!(r#"{{"kind":"struct","name":"","size":0,"align":1,"fields":[{{"name":"a","type":{of},"offset":0}}]}}"#)
    });
    let field = |at: usize| format!(r#"{{"name":"{at}","type":"u8","offset":0}}"#);
    let fields: Vec<_> = (0..COUNT).map(field).collect();
    let variants: Vec<_> = (0..COUNT).map(|at| format!(r#"{{"name":"{at}","value":0}}"#)).collect();
    let errors: Vec<_> = (0..COUNT).map(|at| format!(r#"{{"name":"{at}"}}"#)).collect();
    let endpoint = |more: &str| {
        format!(r#"{{"msg_type":0,"name":"","request":{{"form":"empty"}},"reply":{{"form":"empty"}}{more}}}"#)
    };
    let endpoints = |endpoints: &str| format!(r#"{{"schema": 2, "endpoints": [{endpoints}]}}"#);
    for json in [
        types(&many("\"u8\"")),
        types(&format!("\"u8\",{}", many(r#"{"ref":0}"#))),
        types(&many(&lists)),
        types(&many(r#"{"kind":"struct","name":"","head":4,"fields":[]}"#)),
        types(&many(r#"{"kind":"enum","name":"","repr":"u8","variants":[]}"#)),
        types(&format!(r#"{{"kind":"struct","name":"","size":0,"align":1,"fields":[{}]}}"#, fields.join(","))),
        types(&format!(r#"{{"kind":"enum","name":"","repr":"u8","variants":[{}]}}"#, variants.join(","))),
        types(&vec![structs; 100].join(",")),
        format!(r#"{{"schema": 2, "more": [{}], "endpoints": []}}"#, many("[]")),
        endpoints(&many(&endpoint(""))),
        endpoints(&many(&endpoint(r#","items":{"form":"empty"}"#))).replace("\"schema\": 2", "\"schema\": 3"),
        endpoints(&endpoint(&format!(r#","raises":[{}]"#, errors.join(",")))),
    ] {
        let shown = &json[..json.len().min(150)];
        let mut description = None;
        let peak = peak_of(|| description = Some(Description::from_json(&json)));
        assert!(peak <= json.len() * MOST, "{peak} bytes for {} of {shown}", json.len());
        let description = description.unwrap().unwrap();
        let peak = peak_of(|| drop(description.to_json()));
        assert!(peak <= json.len() * MOST, "{peak} bytes to write {} of {shown}", json.len());
    }
}
