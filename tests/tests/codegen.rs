//! Code generated from a callee's description equals the checked-in files, is formatted as rustfmt formats it, and
//! calls the callee.
//!
//! After a change of the generator, `UPDATE=1 cargo test -p tachyon-tests --test codegen` writes the files again.
#![allow(clippy::unwrap_used, clippy::similar_names, clippy::float_cmp, reason = "tests of exact values")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tachyon::describe::Description;
use tachyon::{CallError, Caller, Dispatcher, codegen};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::streaming::{SHARED, Shop, TASKS, THREADS};
use tachyon_tests::temporary::socket;

#[allow(unreachable_pub, clippy::trivially_copy_pass_by_ref, reason = "as it is generated, for any crate")]
#[rustfmt::skip]
#[path = "generated/endpoints.rs"]
mod generated;

/// The output for names and layouts that Rust does not have. Only compiled.
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "as it is generated")]
#[rustfmt::skip]
#[path = "generated/odd.rs"]
mod odd;

/// The output for every form of the contract. Only compiled.
#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "as it is generated")]
#[rustfmt::skip]
#[path = "generated/contract.rs"]
mod contract;

/// The output for streams of all kinds.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, reason = "as it is generated, for any crate")]
#[rustfmt::skip]
#[path = "generated/streams.rs"]
mod streams;

use generated::{Endpoints, EndpointsClient, EndpointsService, Order, PriceReply, PriceRequest, Side};

fn peer() -> (tempfile::TempDir, Peer, Caller) {
    let (folder, path) = socket();
    let peer = Program(env!("CARGO_BIN_EXE_typed_peer")).start("functions", &path, &["65536", "65536"]);
    let caller = Caller::connect(&path).unwrap();
    (folder, peer, caller)
}

/// The text as rustfmt formats it, without this repository's settings.
fn rustfmt(source: &str) -> String {
    let settings = tempfile::tempdir().unwrap();
    std::fs::write(settings.path().join("rustfmt.toml"), "").unwrap();
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config-path"])
        .arg(settings.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    rustfmt.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = rustfmt.wait_with_output().unwrap();
    assert!(output.status.success(), "{source}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares generated code with the checked-in file.
fn assert_checked_in(file: &str, source: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/generated").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, source).unwrap();
    }
    assert_eq!(source, std::fs::read_to_string(&file).unwrap());
    assert_eq!(source, rustfmt(source));
}

#[test]
fn code_from_a_live_callee_equals_the_checked_in_file() {
    let (_folder, peer, mut caller) = peer();
    let source = codegen::rust(&caller.describe().unwrap());
    assert_checked_in("endpoints.rs", &source);
    drop(caller);
    peer.finish();
}

#[test]
fn generated_code_calls_the_callee_it_came_from() {
    let (_folder, peer, mut caller) = peer();
    let mut client = EndpointsClient::new(&mut caller);
    let price = PriceRequest { instrument: 7, quantity: 100 };
    assert_eq!(client.price(&price).unwrap(), PriceReply { bid: 99.0, ask: 101.0 });
    let order = Order { price, account: *b"alice\0", side: Side::Sell, partial: true };
    assert_eq!(client.order(&order).unwrap(), 1);
    assert_eq!(client.sides(&[order, order]).unwrap(), [Side::Sell, Side::Sell]);
    assert_eq!(client.turned(&order).unwrap().side, Side::Buy);
    assert_eq!(client.sum(&[1.0, 2.0]).unwrap(), 3.0);
    assert_eq!(client.squares(&3).unwrap(), [0, 1, 4]);
    assert_eq!(client.prices().unwrap().len(), 2);
    assert_eq!(client.echo(b"bytes").unwrap(), *b"bytes");
    client.nothing().unwrap();
    drop(caller);
    peer.finish();
}

/// All streams of the contract, as a callee describes them.
fn streams_description() -> Description {
    let [mut one, two, three] =
        [SHARED, THREADS, TASKS].map(|table| Dispatcher::with_state(Shop::default(), table).describe());
    for endpoint in two.endpoints.into_iter().chain(three.endpoints) {
        if one.endpoints.iter().all(|other| other.msg_type != endpoint.msg_type) {
            one.endpoints.push(endpoint);
        }
    }
    one
}

#[test]
fn code_of_streams_equals_the_checked_in_file() {
    assert_checked_in("streams.rs", &codegen::rust(&streams_description()));
}

#[test]
fn generated_code_opens_the_streams_of_the_callee_it_came_from() {
    let (_folder, path) = socket();
    let peer = Program(env!("CARGO_BIN_EXE_stream_peer")).start("threads", &path, &[]);
    let mut client = streams::EndpointsClient::new(Caller::connect(&path).unwrap());
    let query = streams::Query { instrument: 7, count: 2 };
    let quotes: Vec<streams::Quote> = client.ticker(&query).unwrap().map(Result::unwrap).collect();
    assert_eq!(quotes[1], streams::Quote { price: 1.0, instrument: 7, number: 1 });
    let mut upload = client.upload("name").unwrap();
    assert!(upload.send(b"bytes").unwrap());
    assert_eq!(upload.finish().unwrap(), "name: 5");
    let mut chat = client.shout().unwrap();
    assert!(chat.send("text").unwrap());
    assert_eq!(chat.next().unwrap().unwrap(), "TEXT");
    chat.end().unwrap();
    assert!(chat.next().is_none());
    drop(chat);
    let refused = client.audit().unwrap();
    drop(refused);
    assert_eq!(client.double(&4).unwrap(), 8);
    drop(client);
    peer.finish();
    let (_folder, path) = socket();
    let peer = Program(env!("CARGO_BIN_EXE_stream_peer")).start("shared", &path, &[]);
    let mut client = streams::EndpointsClient::new(Caller::connect(&path).unwrap());
    let mut sold = client.sell(1, 2).unwrap();
    assert_eq!(sold.next().unwrap().unwrap(), 0);
    let error = sold.next().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Failed(streams::SellError::SoldOut { left: 0 })));
    drop(sold);
    drop(client);
    peer.finish();
}

/// Implements the generated service.
struct StandIn;

impl Endpoints for StandIn {
    fn echo(&self, request: &[u8]) -> Result<Vec<u8>, String> {
        Ok(request.to_vec())
    }

    fn price(&self, _request: &PriceRequest) -> Result<PriceReply, String> {
        Err("closed".to_owned())
    }

    fn order(&self, _request: &Order) -> Result<u64, String> {
        Ok(1)
    }

    fn sum(&self, request: &[f64]) -> Result<f64, String> {
        Ok(request.iter().sum())
    }

    fn prices(&self) -> Result<Vec<PriceReply>, String> {
        Ok(Vec::new())
    }

    fn nothing(&self) -> Result<(), String> {
        Ok(())
    }

    fn squares(&self, _request: &u32) -> Result<Vec<u64>, String> {
        Ok(Vec::new())
    }

    fn silent(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn sides(&self, request: &[Order]) -> Result<Vec<Side>, String> {
        Ok(request.iter().map(|order| order.side).collect())
    }

    fn turned(&self, request: &Order) -> Result<Order, String> {
        Ok(*request)
    }
}

#[test]
fn a_generated_service_describes_itself_as_the_original() {
    let (_folder, peer, mut caller) = peer();
    let original = caller.describe().unwrap();
    let stand_in = Dispatcher::with_state(StandIn, EndpointsService::endpoints()).describe();
    // Compared as code: a field's documentation gives its offset in the generated code.
    assert_eq!(codegen::rust(&stand_in), codegen::rust(&original));
    drop(caller);
    peer.finish();
}

/// Text, lists, options, payloads with a head, arguments by name and declared errors.
#[test]
fn every_form_becomes_code() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/generated/contract.json");
    let description = Description::from_json(&std::fs::read_to_string(file).unwrap()).unwrap();
    let source = codegen::rust(&description);
    assert_checked_in("contract.rs", &source);
    assert_eq!(codegen::rust(&Description::from_json(&description.to_json()).unwrap()), source);
}

#[test]
fn the_example_of_the_documentation_is_a_description() {
    let page = include_str!("../../docs/guide/describe.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (json, rest) = rest.split_once("```\n").unwrap();
    let description = Description::from_json(json).unwrap();
    let written: Description = Description::from_json(&description.to_json()).unwrap();
    assert_eq!(written, description);
    assert!(rest.contains(&format!("```text\n{}\n```", description.endpoints[0])));
}

#[test]
fn odd_descriptions_still_become_code() {
    let json = r#"{"schema": 1, "endpoints": [
        {"msg_type": 1, "name": "type", "request": {"form": "empty"}, "reply": {"form": "empty"}},
        {"msg_type": 2, "name": "self", "doc": " indented\n\nand \u0007 long  ", 
         "request": {"form": "bytes"}, "reply": {"form": "bytes"}},
        {"msg_type": 3, "name": "new",
         "request": {"form": "slice", "layout": {"kind": "str", "len": 3}}, "reply": {"form": "empty"}},
        {"msg_type": 4, "name": "twice", "request": {"form": "payload", "layout":
            {"kind": "struct", "name": "Odd-Name", "size": 24, "align": 8, "fields": [
                {"name": "gr\u00f6\u00dfe", "type": "u8", "offset": 0, "size": 1},
                {"name": "crate", "type": "f64", "offset": 8, "size": 8},
                {"name": "match", "type": {"kind": "bytes", "len": 3}, "offset": 16, "size": 3}]}},
         "reply": {"form": "payload", "layout":
            {"kind": "enum", "name": "Result", "repr": "i8", "variants": [
                {"name": "Self", "value": -1}, {"name": "fine", "value": 1}]}}},
        {"msg_type": 5, "name": "twice", "request": {"form": "payload", "layout":
            {"kind": "struct", "name": "Odd-Name", "size": 5, "align": 1, "fields": [
                {"name": "unaligned", "type": "u32", "offset": 1, "size": 4}]}},
         "reply": {"form": "slice", "layout":
            {"kind": "array", "of": {"kind": "array", "of": "u16", "len": 2}, "len": 2}}},
        {"msg_type": 6,
         "name": "a_name_that_is_so_long_that_no_formatter_would_leave_it_on_one_line_with_everything_else",
         "request": {"form": "bytes"}, "reply": {"form": "bytes"}}]}"#;
    let source = codegen::rust(&Description::from_json(json).unwrap());
    assert_checked_in("odd.rs", &source);
    for expected in [
        "fn r#type(&self) -> Result<(), String>;",
        "fn self_(&self, request: &[u8])",
        "fn new_(&self, request: &[[u8; 3]])",
        "pub struct Odd_Name {",
        "pub struct Odd_Name_ {\n    /// All of them.\n    pub bytes: [u8; 5],",
        "pub crate_: f64,",
        "pub r#match: [u8; 3],",
        "pub _pad: [u8; 7],",
        "pub _pad_: [u8; 5],",
        "pub enum Result_ {",
        "Self_ = -1,",
        "fn twice_(&self, request: &Odd_Name_) -> Result<Vec<[[u16; 2]; 2]>, String>;",
        "everything_else(\n        &self,\n        request: &[u8],\n    ) -> Result<Vec<u8>, String>;",
    ] {
        assert!(source.contains(expected), "{expected}\n{source}");
    }
    let empty = codegen::rust(&Description::new(Vec::new()));
    assert_eq!(empty, rustfmt(&empty));
}
