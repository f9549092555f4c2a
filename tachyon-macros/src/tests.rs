//! The macros as functions from tokens to tokens. What rustc makes of the result is tested in the `tests` crate.

use proc_macro2::TokenStream;
use proptest::prelude::*;

use crate::args::Args;
use crate::check;
use crate::diag::Report;
use crate::model::Function;

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("the test's own text is a sequence of tokens")
}

/// What the user reads.
fn messages(args: &str, item: &str) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(tokens(args), &mut report);
    match Function::parse(tokens(item)) {
        Ok(function) => drop(check::check(&args, &function, &mut report)),
        Err(error) => report.syntax(error),
    }
    report.messages()
}

const FUNCTION: &str = "fn f(payload: &[u8]) -> Vec<u8> { .. }";

#[test]
fn arguments_that_are_right() {
    for args in [
        "msg_type = 0",
        "msg_type = 65534,",
        "msg_type = 0xfffe",
        "msg_type = 0b1u16",
        "msg_type = 1_000",
        "msg_type = ids::ONE",
        "msg_type = <T as Numbers>::ONE",
        "crate = a::b, msg_type = 1",
        "msg_type = 1, crate = ::a",
        "msg_type = 1, crate = crate",
        "msg_type = 1, crate = self::a",
    ] {
        assert_eq!(messages(args, FUNCTION), [""; 0], "{args}");
    }
}

#[test]
fn arguments_that_are_wrong() {
    for (args, expected) in [
        ("", vec!["`msg_type` is missing"]),
        ("crate = a", vec!["`msg_type` is missing"]),
        ("msg_type = 65535", vec!["msg_type 65535 is reserved"]),
        ("msg_type = 65536", vec!["msg_type 65536 is out of range"]),
        ("msg_type = 0x1_0000", vec!["msg_type 65536 is out of range"]),
        ("msg_type = -1", vec!["it cannot be negative"]),
        ("msg_type = 1u8", vec!["leave out the suffix `u8`"]),
        ("msg_type = 1.5", vec!["integer literal"]),
        ("msg_type = (1)", vec!["integer literal"]),
        ("msg_type = { 1 }", vec!["integer literal"]),
        ("msg_type = 1, msg_type = 2", vec!["`msg_type` is given twice"]),
        ("a = 1, b = 2, msg_type = 3", vec!["unknown argument `a`", "unknown argument `b`"]),
        ("1", vec!["expected `name = value`"]),
        ("msg_type = 1, crate = 1, x", vec!["`crate` is the path", "expected `name = value`"]),
        ("msg_type = 1, crate = a b", vec!["`crate` is the path"]),
        (",", vec!["expected `name = value`"]),
    ] {
        assert_messages(args, FUNCTION, &expected);
    }
}

#[test]
fn functions_that_are_right() {
    for item in [
        "fn f(_: &[u8]) {}",
        "pub const fn f(mut payload: &'_ [u8]) -> &[u8] { .. }",
        "fn r#match([first, rest @ ..]: &[core::primitive::u8]) -> Result<(), impl Display> { .. }",
        "/// Doc. \n #[inline] pub(in a::b) fn f((payload): (&([u8]))) -> m!() where u8: Copy { not parsed $ at all }",
    ] {
        assert_eq!(messages("msg_type = 1", item), [""; 0], "{item}");
    }
}

#[test]
fn functions_that_are_wrong() {
    for (item, expected) in [
        ("async fn f(_: &[u8]) {}", vec!["`async`"]),
        ("unsafe fn f(_: &[u8]) {}", vec!["`unsafe`"]),
        ("extern fn f(_: &[u8]) {}", vec!["`extern`"]),
        ("fn f<'a>(_: &'a [u8]) {}", vec!["no lifetime parameters"]),
        ("fn f<T>(_: &[u8]) {}", vec!["no type parameters"]),
        ("fn f<const N: usize>(_: &[u8]) {}", vec!["no const parameters"]),
        ("fn f(&self) {}", vec!["free function", "add it"]),
        ("fn f(self: Box<Self>, _: &[u8]) {}", vec!["free function"]),
        ("fn f() {}", vec!["add it"]),
        ("fn f(_: &[u8], _: &[u8]) {}", vec!["one parameter"]),
        ("fn f(_: u8, _: u16) {}", vec!["one parameter", "one parameter", "one parameter"]),
        ("fn f(_: &mut [u8]) {}", vec!["borrowed read-only"]),
        ("fn f(_: &'static [u8]) {}", vec!["not for `'static`"]),
        ("fn f(_: impl Sized) {}", vec!["`impl Trait`"]),
        ("fn f(_: &[i8]) {}", vec!["one parameter"]),
        ("fn f(_: *const [u8]) {}", vec!["one parameter"]),
        ("fn f(_: &[u8]) -> ! { .. }", vec!["an endpoint returns"]),
        ("fn f(#[cfg(a)] _: &[u8]) {}", vec!["cannot be conditional"]),
        ("#[tachyon_rpc(msg_type = 2)] fn f(_: &[u8]) {}", vec!["keep one `tachyon_rpc`"]),
        ("async unsafe fn f<T>(_: T) -> ! { .. }", vec!["`async`", "`unsafe`", "type", "one parameter", "returns"]),
    ] {
        assert_messages("msg_type = 1", item, &expected);
    }
}

#[test]
fn items_that_are_no_functions() {
    for (item, expected) in [
        ("struct S;", "not on `struct`"),
        ("#[a] pub(crate) trait T {}", "services on traits are not supported yet"),
        ("unsafe impl Send for S {}", "methods cannot be endpoints"),
        ("fn f(_: &[u8]);", "a function with a body"),
        ("const X: fn() = f;", "not on `const`"),
        ("1 + 1", "expected"),
        ("", "expected"),
    ] {
        assert_messages("msg_type = 1", item, &[expected]);
    }
}

fn assert_messages(args: &str, item: &str, expected: &[&str]) {
    let found = messages(args, item);
    assert_eq!(found.len(), expected.len(), "{args} | {item}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{args} | {item}: {found}");
    }
}

#[test]
fn a_function_stays_as_it_is() {
    let item = "#[inline] pub fn f ( payload : & [u8] ) -> Vec < u8 > { payload . to_vec () }";
    for args in ["msg_type = 1", "msg_type = 65535"] {
        let output = crate::endpoint(tokens(args), &tokens(item)).to_string();
        assert!(output.starts_with(&tokens(item).to_string()), "{output}");
    }
}

#[test]
fn a_stub_keeps_the_name() {
    let output = crate::endpoint(tokens("nonsense"), &tokens("async fn f(_: &[u8]) {}"));
    let file: syn::File = syn::parse2(output).expect("the stub is a sequence of items");
    let is_stub = |item: &syn::Item| matches!(item, syn::Item::Struct(item) if item.ident == "f");
    assert!(file.items.iter().any(is_stub));
}

/// Pieces that, in any order, come near to what the macros expect or stay far from it.
const PIECES: [&str; 52] = [
    "msg_type",
    "crate",
    "=",
    "==",
    ",",
    ",,",
    ";",
    "1",
    "65535",
    "-",
    "1u8",
    "\"text\"",
    "'a",
    "'a'",
    "::",
    "tachyon",
    "r#crate",
    "r#match",
    "fn",
    "pub",
    "pub(crate)",
    "async",
    "unsafe",
    "extern \"C\"",
    "const",
    "f",
    "(",
    ")",
    "()",
    "(_: &[u8])",
    "(payload: &mut [u8], ...)",
    "(&self, x: impl T)",
    "-> Vec<u8>",
    "-> !",
    "-> impl T",
    "<T>",
    "<'a>",
    "<const N: u8>",
    "{}",
    "{",
    "}",
    "[",
    "]",
    "#[cfg(a)]",
    "#[doc = \"d\"]",
    "#[cfg_attr(a, cfg(b))]",
    "#[expect(x)]",
    "#[tachyon_rpc(1)]",
    "struct",
    "trait",
    "$",
    "where",
];

fn any_tokens() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..16).prop_map(|pieces| pieces.join(" "))
}

fn any_function() -> impl Strategy<Value = String> {
    (any_tokens(), any_tokens(), any_tokens()).prop_map(|(a, b, c)| format!("{a} fn f (payload: {b}) {c} {{}}"))
}

proptest! {
    #[test]
    fn odd_tokens_never_panic(args in any_tokens(), item in prop_oneof![any_tokens(), any_function()]) {
        // Not every text is a sequence of tokens: unbalanced ones never reach a macro.
        if let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>()) {
            let output = crate::endpoint(args, &item).to_string();
            prop_assert!(output.contains("compile_error") || syn::parse_str::<syn::File>(&output).is_ok(), "{output}");
        }
    }

    #[test]
    fn odd_lists_never_panic(names in any_tokens()) {
        if let Ok(names) = names.parse::<TokenStream>() {
            let output = crate::table::expand(names);
            prop_assert!(syn::parse2::<syn::Expr>(output.clone()).is_ok(), "{output}");
        }
    }

    #[test]
    fn every_number_is_taken_or_refused(number: u32) {
        let number = number % 70_000;
        let accepted = messages(&format!("msg_type = {number}"), FUNCTION).is_empty();
        prop_assert_eq!(accepted, number < 65_535);
    }
}
