//! The macros as functions from tokens to tokens. `tests/macros` compiles the results.

use proc_macro2::{Span, TokenStream};
use proptest::prelude::*;

use crate::args::{Args, Attr};
use crate::endpoint::check;
use crate::endpoint::model::Function;
use crate::report::Report;

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("the test's own text is a sequence of tokens")
}

/// The error texts for a function.
fn messages(args: &str, item: &str) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(Attr::Endpoint, tokens(args), Span::call_site(), &mut report);
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
        ("msg_type = -1", vec!["this number is negative"]),
        ("msg_type = 1u8", vec!["remove the suffix `u8`"]),
        ("msg_type = 1.5", vec!["integer literal"]),
        ("msg_type = (1)", vec!["integer literal"]),
        ("msg_type = { 1 }", vec!["integer literal"]),
        ("msg_type = 1, msg_type = 2", vec!["`msg_type` is given twice"]),
        ("a = 1, b = 2, msg_type = 3", vec!["no argument `a`", "no argument `b`"]),
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
        "fn f() -> f64 { .. }",
        "fn f(orders: &[Order]) -> Vec<Side> { .. }",
        "fn f(order: &a::b::Order) -> Result<Price, impl Display> { .. }",
        "fn f(numbers: &[f64; 3]) -> [f64; 3] { .. }",
        "fn f(#[state] book: &Book, order: &Order) -> Price { .. }",
        "fn f(order: &Order, #[context] cx: &Context<'_>, #[state] book: &mut Book) -> Price { .. }",
        "fn f(#[state] book: &mut Book) {}",
        "fn f(#[state] book: &mut Book, reply: ReplySlot<'_>) {}",
        "fn f(#[state] book: &dyn Prices, order: &Order, reply: tachyon::ReplySlot<'_, [f64]>) -> Result<(), E> { .. }",
        "fn f(reply: ReplySlot<Price>) {}",
        "fn f(a: u64, b: &u64, c: &str, d: String, e: &[f32], g: Vec<Order>, h: Order, i: &Order, j: [u8; 4]) {}",
        "fn f(a: Option<u64>, b: Option<&str>, c: Option<&[f32]>, d: Option<Order>, e: Option<ScanRef<'_>>) {}",
        "fn f(a: List<'_, String>, b: Vec<String>, c: Vec<Vec<f32>>, d: ScanRef<'_>) -> Vec<String> { .. }",
        "fn f(_a: u64, r#type: u64) -> Option<u64> { .. }",
        "async fn f() {}",
        "async fn f(#[state] s: &S, #[context] cx: &Context<'_>, a: String, b: Vec<Scan>) -> Result<Scan, E> { .. }",
        "async fn f(a: Option<u64>) -> &'static str { .. }",
    ] {
        assert_eq!(messages("msg_type = 1", item), [""; 0], "{item}");
    }
}

#[test]
fn functions_that_are_wrong() {
    for (item, expected) in [
        ("async fn f(_: &[u8]) {}", vec!["write `Vec<u8>`"]),
        ("async fn f(a: &str, b: Option<&str>) {}", vec!["write `String`", "write `Option<String>`"]),
        ("async fn f(a: &Scan, b: ScanRef<'_>) {}", vec!["write `Scan`", "write `Scan`"]),
        ("async fn f(a: List<'_, Scan>, b: Odd<'_>) {}", vec!["write `Vec<Scan>`", "write an owned type"]),
        ("async fn f(a: TensorRef<'_, f32, 2>) {}", vec!["write `Tensor<f32, 2>`"]),
        ("async fn f(r: ReplySlot<'_>) {}", vec!["return the reply"]),
        ("async fn f(#[state] s: &mut S) {}", vec!["write `&S`, with a lock"]),
        ("async fn f(#[state] s: &S) -> Result<&[u8], E> {}", vec!["owns its reply"]),
        ("unsafe fn f(_: &[u8]) {}", vec!["`unsafe`"]),
        ("extern fn f(_: &[u8]) {}", vec!["`extern`"]),
        ("fn f<'a>(_: &'a [u8]) {}", vec!["no lifetime parameters"]),
        ("fn f<T>(_: &[u8]) {}", vec!["no type parameters"]),
        ("fn f<const N: usize>(_: &[u8]) {}", vec!["no const parameters"]),
        ("fn f(&self) {}", vec!["free function"]),
        ("fn f(self: Box<Self>, _: &[u8]) {}", vec!["free function"]),
        ("fn f(_: u8, _: u16) {}", vec!["needs a name", "needs a name"]),
        ("fn f(_: Option<u8>) {}", vec!["needs a name"]),
        ("fn f(a: u8, _a: u16) {}", vec!["two arguments have the name `a`"]),
        ("fn f(#[state] a: &A, #[state] b: &B) {}", vec!["a dispatcher has one state"]),
        ("fn f(#[context] a: &Context, #[context] b: &Context) {}", vec!["a call has one context"]),
        ("fn f(#[context] #[state] a: &A) {}", vec!["keep one mark"]),
        ("fn f(#[state] _: &impl Sized, _: &A) {}", vec!["the state has one type"]),
        ("fn f(#[state] _: &'static S, _: &A) {}", vec!["not for `'static`"]),
        ("fn f(#[state] s: S) {}", vec!["write `#[state] state: &S`"]),
        ("fn f(#[context] s: Context) {}", vec!["write `#[context] cx: &Context`"]),
        ("fn f(cx: &Context, x: u8) {}", vec!["write `#[context] cx: &Context`"]),
        ("fn f(r: Request<'_>) {}", vec!["write `#[context] cx: &Context`"]),
        ("fn f(_: &mut S) {}", vec!["with `#[state]`"]),
        ("fn f(_: ()) {}", vec!["remove the parameter"]),
        ("fn f(r: ReplySlot<'_>, x: u8) {}", vec!["the last parameter"]),
        ("fn f(_: &Vec<u8>) {}", vec!["write `&[u8]`"]),
        ("fn f(_: &Vec<String>) {}", vec!["write `List<'_, String>`"]),
        ("fn f(_: &[String]) {}", vec!["write `List<'_, String>`"]),
        ("fn f(_: &[&str]) {}", vec!["write `List<'_, String>`"]),
        ("fn f(_: &String) {}", vec!["write `&str`"]),
        ("fn f(_: str) {}", vec!["write `&str`"]),
        ("fn f(_: &usize) {}", vec!["write `u64` or `u32`"]),
        ("fn f(a: usize, b: u8) {}", vec!["write `u64` or `u32`"]),
        ("fn f(_: HashMap<u8, u8>) {}", vec!["`HashMap` does not travel"]),
        ("fn f(_: &[char]) {}", vec!["`char::from_u32`"]),
        ("fn f(_: &[[u128; 2]]) {}", vec!["aligned to 16"]),
        ("fn f(_: &&u8) {}", vec!["write `u8`"]),
        ("fn f(_: &Option<u8>) {}", vec!["write `Option<u8>`"]),
        ("fn f(a: Option<&u8>) {}", vec!["write `Option<T>`"]),
        ("fn f(a: Option<Option<u8>>) {}", vec!["cannot hold another `Option`"]),
        ("fn f(a: Vec<Option<u8>>) {}", vec!["a list cannot hold an `Option`"]),
        ("fn f(_: (u8, u8)) {}", vec!["the fields of a tuple have no names"]),
        ("fn f(_: &mut [u8]) {}", vec!["borrowed read-only"]),
        ("fn f(_: &'static [u8]) {}", vec!["not for `'static`"]),
        ("fn f(_: impl Sized) {}", vec!["`impl Trait`"]),
        ("fn f(_: *const [u8]) {}", vec!["an address is invalid"]),
        ("fn f(_: &[u8]) -> ! { .. }", vec!["an endpoint must return"]),
        ("fn f() -> impl Sized { .. }", vec!["a reply has one type"]),
        ("fn f() -> usize { .. }", vec!["write `u64` or `u32`"]),
        ("fn f() -> Result<(u8, u8), E> { .. }", vec!["the fields of a tuple"]),
        ("fn f(#[cfg(a)] _: &[u8]) {}", vec!["cannot be conditional"]),
        ("#[tachyon_rpc(msg_type = 2)] fn f(_: &[u8]) {}", vec!["keep one `tachyon_rpc`"]),
        ("async unsafe fn f<T>(_: &mut T) -> ! { .. }", vec!["`unsafe`", "type", "read-only", "must return"]),
    ] {
        assert_messages("msg_type = 1", item, &expected);
    }
}

#[test]
fn streams() {
    for (item, expected) in [
        ("fn f(a: &str) -> impl Iterator<Item = u8> {}", vec![]),
        ("fn f() -> impl Send + core::iter::FusedIterator<Item = Result<Quote, E>> + 'static + use<> {}", vec![]),
        ("fn f(a: u8, b: &Q) -> Result<impl Iterator<Item = Result<String, E>>, E> {}", vec![]),
        ("fn f(#[state] s: &mut S) -> Box<dyn Iterator<Item = Option<u8>> + Send + 'static> {}", vec![]),
        ("fn f(items: Items<u8>) -> u8 {}", vec![]),
        ("fn f(a: u8, #[context] cx: &Context, items: tachyon::Items<Vec<u8>>) -> impl Iterator<Item = u8> {}", vec![]),
        (
            "async fn f(#[state] s: &S, a: String, items: Items<Quote>, out: StreamSender<u8>) -> Result<(), E> {}",
            vec![],
        ),
        ("fn f(out: StreamSender<Option<u8>>) {}", vec![]),
        ("fn f() -> impl Iterator {}", vec!["the type of the items"]),
        ("fn f() -> impl Iterator<Item = impl Sized> {}", vec!["an item has one type"]),
        ("fn f() -> impl Iterator<Item = &u8> {}", vec!["write `u8`"]),
        ("fn f() -> impl Iterator<Item = Result<LineRef<'_>, E>> {}", vec!["write `Line`"]),
        ("fn f() -> impl Iterator<Item = usize> {}", vec!["write `u64`"]),
        ("fn f(a: &str) -> impl Iterator<Item = u8> + '_ {}", vec!["remove `'_`"]),
        ("fn f(a: &str) -> Result<impl Iterator<Item = u8> + use<'_>, E> {}", vec!["remove `use<'_>`"]),
        ("fn f() -> Box<dyn Iterator<Item = u8>> {}", vec!["+ Send>`"]),
        ("fn f() -> Box<dyn Iterator<Item = u8> + '_> {}", vec!["remove `'_`"]),
        ("fn f() -> impl IntoIterator<Item = u8> {}", vec!["write `impl Iterator<Item = T>`"]),
        ("fn f() -> Result<impl Stream<Item = u8>, E> {}", vec!["write `impl Iterator<Item = T>`"]),
        ("fn f() -> Result<impl Iterator<Item = Result<u8, A>>, B> {}", vec!["write `A` here, too"]),
        ("fn f() -> io::Result<impl Iterator<Item = u8>> {}", vec!["no error in this alias"]),
        ("async fn f() -> impl Iterator<Item = u8> {}", vec!["`out: StreamSender<u8>`"]),
        ("fn f(reply: ReplySlot<'_>) -> impl Iterator<Item = u8> {}", vec!["remove the slot"]),
        ("fn f(a: Items<u8>, b: Items<u8>) {}", vec!["keep one `Items`"]),
        ("fn f(a: StreamSender<u8>, b: StreamSender<u8>) {}", vec!["keep one `StreamSender`"]),
        ("fn f(a: Items<u8>, b: u8) {}", vec!["arguments of the request come first"]),
        ("fn f(a: StreamSender<u8>, b: Items<u8>) {}", vec!["behind `Items`"]),
        ("fn f(a: Items<char>, b: StreamSender<&str>) {}", vec!["`char::from_u32`", "write `String`"]),
        ("fn f(a: StreamSender<u8>) -> u8 {}", vec!["return nothing"]),
        ("fn f(a: StreamSender<u8>) -> impl Iterator<Item = u8> {}", vec!["return nothing"]),
        ("fn f(a: &str, b: Items<u8>) {}", vec!["owns its arguments"]),
        ("fn f(b: Items<u8>) -> &str {}", vec!["owns its reply"]),
        ("fn f(#[state] s: &mut S, b: Items<u8>) {}", vec!["write `&S`"]),
        ("fn f(b: Items<u8>, s: ReplySlot<'_>) {}", vec!["has no reply slot"]),
    ] {
        assert_messages("msg_type = 1", item, &expected);
    }
    for item in ["fn f() -> impl Iterator<Item = &u8> {}", "fn f(a: Items<&u8>) {}", "fn f(a: StreamSender<&u8>) {}"] {
        assert_messages("msg_type = 1, codec = \"msgpack\"", item, &["write `u8`"]);
    }
    for (method, expected) in [
        ("fn f(&mut self) -> Result<impl Iterator<Item = u8> + 'static, E>", vec![]),
        ("fn f(&self, a: &str) -> impl Iterator<Item = u8>", vec!["`impl Iterator<Item = u8> + 'static`, here and"]),
        ("fn f(&mut self, a: Items<u8>)", vec!["write `&self`, with a lock"]),
        ("fn f(&self, a: &str, b: Items<u8>)", vec!["owns its arguments"]),
    ] {
        let item = format!("trait T {{ #[rpc(msg_type = 1)] {method}; }}");
        assert_all(&crate::service::messages(tokens(""), tokens(&item)), &expected, method);
    }
}

#[test]
fn a_returned_iterator_owns_what_it_needs() {
    for (written, bounded) in [
        ("-> impl Iterator<Item = u8> {}", "-> impl Iterator<Item = u8> + tachyon::Send + 'static {}"),
        ("-> impl 'static + Iterator<Item = u8> {}", "-> impl 'static + Iterator<Item = u8> + tachyon::Send {}"),
        (
            "-> Result<(impl Iterator<Item = u8> + Send), E> where u8: Copy { 1 }",
            "-> Result<(impl Iterator<Item = u8> + Send + 'static), E> where u8: Copy { 1 }",
        ),
        ("-> Box<dyn Iterator<Item = u8> + Send> {}", "-> Box<dyn Iterator<Item = u8> + Send> {}"),
    ] {
        let function = |output: &str| tokens(&format!("#[inline] pub fn f(a: &str) {output}")).to_string();
        let library = syn::parse_str("tachyon").expect("a path");
        let found = crate::endpoint::streams::with_bounds(tokens(&function(written)), &library);
        assert_eq!(found.to_string(), function(bounded));
    }
}

#[test]
fn marks_are_taken_off_the_parameters() {
    let item = tokens("fn f(#[state] a: &A, #[context] cx: &Context, #[allow(x)] b: u8) { #[state] let x = (1, 2); }");
    let kept = tokens("fn f(a: &A, cx: &Context, #[allow(x)] b: u8) { #[state] let x = (1, 2); }");
    assert_eq!(crate::endpoint::params::without_marks(item).to_string(), kept.to_string());
}

#[test]
fn items_that_are_no_functions() {
    for (item, expected) in [
        ("struct S;", "not `struct`"),
        ("unsafe impl Send for S {}", "the methods of a type cannot be endpoints"),
        ("fn f(_: &[u8]);", "a function with a body"),
        ("const X: fn() = f;", "not `const`"),
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
        let output = crate::endpoint::tachyon_rpc(tokens(args), &tokens(item)).to_string();
        assert!(output.starts_with(&tokens(item).to_string()), "{output}");
    }
}

#[test]
fn a_stub_keeps_the_name() {
    let output = crate::endpoint::tachyon_rpc(tokens("nonsense"), &tokens("async fn f(_: &[u8]) {}"));
    let file: syn::File = syn::parse2(output).expect("the stub is a sequence of items");
    let is_stub = |item: &syn::Item| matches!(item, syn::Item::Struct(item) if item.ident == "f");
    assert!(file.items.iter().any(is_stub));
}

fn assert_all(found: &[String], expected: &[&str], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{what}: {found}");
    }
}

#[test]
fn services() {
    for (args, item, expected) in [
        ("", "trait T {}", vec![]),
        ("crate = a::b", "pub unsafe trait T {}", vec!["cannot be `unsafe`"]),
        (
            "",
            "trait T { #[rpc(msg_type = 1)] fn f(&self); #[rpc(msg_type = 2)] fn g(&mut self, r: &R) -> u8 { 1 } }",
            vec![],
        ),
        ("", "trait T { #[rpc(msg_type = 1)] fn f(&self, r: &[R], s: ReplySlot<'_>); }", vec![]),
        ("msg_type = 1", "trait T {}", vec!["each of its methods"]),
        ("reply = 1", "trait T {}", vec!["`tachyon_rpc` on a trait has no argument `reply`"]),
        ("", "trait T { fn f(&self); }", vec!["mark it with `#[rpc(msg_type = N)]`"]),
        ("", "trait T { #[rpc] fn f(&self); }", vec!["`msg_type` is missing: write `#[rpc"]),
        ("", "trait T { #[rpc = 1] fn f(&self); }", vec!["expected `#[rpc(msg_type = N)]`"]),
        ("", "trait T { #[rpc(crate = a, msg_type = 1)] fn f(&self); }", vec!["write it on the trait"]),
        ("", "trait T { #[rpc(msg_type = 1)] #[rpc(msg_type = 2)] fn f(&self); }", vec!["keep one `rpc`"]),
        ("", "trait T { #[tachyon_rpc(msg_type = 1)] fn f(&self); }", vec!["write `#[rpc(msg_type = N)]`"]),
        (
            "",
            "trait T { #[rpc(msg_type = 1)] fn f(&self); #[rpc(msg_type = 0x1)] fn g(&self); }",
            vec!["`f` has 1, too"],
        ),
        ("", "trait T { #[rpc(msg_type = 1)] fn f(r: &R); }", vec!["takes `&self` or `&mut self`"]),
        ("", "trait T { #[rpc(msg_type = 1)] fn f(self: Box<Self>); }", vec!["called many times"]),
        ("", "trait T { #[rpc(msg_type = 1)] fn f(&self, a: &A, b: &B); }", vec![]),
        ("", "trait T { #[rpc(msg_type = 1)] async fn f(&self, a: A, b: String) -> Vec<B>; }", vec![]),
        ("", "trait T { #[rpc(msg_type = 1)] async fn f(&mut self); }", vec!["write `&self`, with a lock"]),
        ("", "trait T { #[rpc(msg_type = 1)] async fn f(&self, a: &A) -> &B; }", vec!["write `A`", "write `B`"]),
        (
            "",
            "trait T { #[rpc(msg_type = 1)] fn f(&self, #[state] a: &A, b: &B); }",
            vec!["the state of a method is `self`"],
        ),
        ("", "trait T { #[rpc(msg_type = 1)] fn new(&self); }", vec!["choose another name"]),
        ("", "trait T { #[rpc(msg_type = 1)] async fn f<X>(&self) -> !; }", vec!["type parameters", "must return"]),
        (
            "",
            "trait T<X> { type A; const C: u8; m!(); }",
            vec!["cannot be generic", "associated types", "only methods", "write the methods out"],
        ),
    ] {
        assert_all(&crate::service::messages(tokens(args), tokens(item)), &expected, item);
    }
}

#[test]
fn payloads() {
    for (item, expected) in [
        ("struct S { a: u64, b: [f32; 2], c: Nested, d: [Nested; N] }", vec![]),
        ("#[repr(C)] pub(crate) struct S { a: u8 }", vec![]),
        ("#[repr(i16)] enum E { A = -1, B }", vec![]),
        ("struct S { a: u8, b: u32 }", vec!["are 3 bytes of it before `b`: add the field `_pad: [u8; 3]` there"]),
        ("struct S { a: u16, b: [u8; 1] }", vec!["is 1 byte of it after `b`"]),
        ("struct S { a: u8, b: u16, c: u8, d: u64 }", vec!["before `b`", "before `d`"]),
        ("struct S { a: &'static u8, b: &'static str, c: &'a [u8] }", vec!["`u8`", "`String`", "`Vec<u8>`"]),
        ("struct S { a: String, b: Vec<u8>, c: Option<u8>, d: Vec<Vec<Nested>>, e: Option<Vec<String>> }", vec![]),
        ("struct S { a: std::string::String, b: alloc::vec::Vec<u8>, c: core::option::Option<(u8)>, d: u8 }", vec![]),
        ("#[repr(C)] struct S { a: String }", vec!["the order in memory"]),
        ("struct S { a: String, _pad: u8 }", vec!["remove `_pad`"]),
        ("struct S { a: Vec<Option<u8>>, b: Option<Option<u8>> }", vec!["`Vec<u8>`", "`Option<u8>`"]),
        ("struct S { a: [Vec<u8>; 2], b: Vec<[String; N]> }", vec!["`Vec<Vec<u8>>`", "`Vec<String>`"]),
        ("struct S { a: Vec<S>, b: Option<Vec<Self>>, c: [S; 1] }", vec!["contain itself"; 3]),
        ("struct S { a: Vec<usize>, b: Option<Box<str>>, c: () }", vec!["u64", "`String`", "remove the field"]),
        ("struct S { a: HashMap<u8, u8>, b: HashSet<u8>, c: Rc<[u8]> }", vec!["key", "`Vec<u8>`", "`Vec<u8>`"]),
        ("struct S { a: *const u8, b: fn() }", vec!["an address", "an address"]),
        (
            "struct S { a: usize, b: isize, c: char, d: u128, e: i128 }",
            vec!["u64", "i64", "u32", "16 bytes", "16 bytes"],
        ),
        (
            "struct S { a: str, b: PathBuf, c: [u8], d: Box<u8> }",
            vec!["`String`", "not always valid UTF-8", "`Vec<u8>`", "write `u8`"],
        ),
        (
            "struct S { a: (u8, u8), b: Result<u8, u8>, c: NonZeroU8, d: dyn Any }",
            vec!["tuple", "Result", "plain number", "no layout"],
        ),
        ("struct S<T> { a: T }", vec!["cannot be generic"]),
        ("struct S(u8);", vec!["need names"]),
        ("struct S;", vec!["at least one field"]),
        ("struct S {}", vec!["at least one field"]),
        ("#[repr(C, packed)] struct S { a: u8 }", vec!["remove this `repr`"]),
        ("#[repr(align(16))] struct S { a: u8 }", vec!["remove this `repr`"]),
        ("struct S { #[cfg(a)] a: u8 }", vec!["cannot be conditional"]),
        ("#[payload] struct S { a: u8 }", vec!["keep one"]),
        ("enum E { A }", vec!["add `#[repr(u8)]`"]),
        ("#[repr(usize)] enum E { A }", vec!["`repr(u8)` to `repr(u64)`"]),
        ("#[repr(u8)] enum E {}", vec!["needs a variant"]),
        ("#[repr(u8)] enum E { A(u8), B { b: u8 }, C }", vec!["no fields", "no fields"]),
        ("union U { a: u8 }", vec!["not a union"]),
        ("fn f() {}", vec!["not a function"]),
        ("type T = u8;", vec!["not an alias"]),
        ("impl S {}", vec!["marks a struct or an enum"]),
    ] {
        assert_all(&crate::payload::messages(tokens(""), &tokens(item)), &expected, item);
    }
    for (args, item, expected) in [
        ("msg_type = 1, crate = a", "struct S { a: u8 }", vec!["its arguments are `extensible` and `crate`"]),
        ("extensible", "struct S { a: u8, b: u64 }", vec![]),
        ("crate = a, extensible,", "struct S { a: Name }", vec![]),
        ("extensible, extensible", "struct S { a: u8 }", vec!["given twice"]),
        ("extensible = 1", "struct S { a: u8 }", vec!["write the word alone"]),
        ("extensible", "#[repr(u8)] enum E { A }", vec!["remove `extensible`"]),
    ] {
        assert_all(&crate::payload::messages(tokens(args), &tokens(item)), &expected, args);
    }
}

#[test]
fn errors() {
    for (item, expected) in [
        (
            "#[derive(Debug)] enum E { #[error(\"a {b:?} {c:>d$}\")] A { b: u8, c: Vec<N>, d: u8 }, #[error(\"\")] B }",
            vec![],
        ),
        ("enum E { #[doc = \"x\"] #[error(\"{type}\")] A { r#type: Option<String> } }", vec![]),
        ("enum E { A, B {}, C { a: u8 } }", vec!["`A` has no text", "`B` has no text", "`C` has no text"]),
        ("enum E { #[error(\"a\")] A(u8) }", vec!["need names"]),
        ("enum E { #[error(\"{a} {b}\")] A { a: u8 } }", vec!["no field `b`: its fields are `a`"]),
        ("enum E { #[error(\"{a}\")] A }", vec!["no field `a`: it has no fields"]),
        ("enum E { #[error(\"{} {0} {a:1$}\")] A { a: u8 } }", vec!["by its name, such as `{a}`"; 3]),
        ("enum E { #[error(\"{a:w$}\")] A { a: u8 } }", vec!["no field `w`"]),
        ("enum E { #[error(\"a\", b)] A, #[error] B, #[error = \"c\"] C }", vec!["one literal"; 3]),
        (
            "enum E { #[error(\"a\", kind = Aborted)] A, #[error(\"b\", kind = NotFound,)] B, #[error(\"c\",)] C }",
            vec![],
        ),
        ("enum E { #[error(\"{x}\", kind = A)] A }", vec!["no field `x`", "`A` is no kind"]),
        (
            "enum E { #[error(\"a\", kind)] A, #[error(\"b\", kind =)] B, #[error(\"c\", kind = 5)] C }",
            vec!["one literal"; 3],
        ),
        ("enum E { #[error(transparent)] A { a: u8 } }", vec!["its own text"]),
        ("enum E { #[error(\"a\")] #[error(\"b\")] A }", vec!["keep one"]),
        ("enum E { #[error(\"a\")] A { #[from] a: String, #[cfg(b)] b: u8 } }", vec!["no source", "conditional"]),
        (
            "enum E { #[error(\"a\")] A { a: usize, b: &'static str, _c: u8 } }",
            vec!["u64", "a reference does not travel", "padding"],
        ),
        ("enum E<T> { #[error(\"a\")] A { a: T } }", vec!["cannot be generic"]),
        ("#[derive(Debug, thiserror::Error)] enum E { #[error(\"a\")] A }", vec!["implements `Error`"]),
        ("#[derive(derive_more::Display)] enum E { #[error(\"a\")] A }", vec!["implements `Display`"]),
        ("#[tachyon::error] enum E { #[error(\"a\")] A }", vec!["keep one `error`"]),
        ("enum E {}", vec!["without a variant"]),
        ("struct Busy;", vec!["write `enum BusyError { .. }`"]),
        ("fn f() {}", vec!["marks an enum"]),
    ] {
        assert_all(&crate::error::messages(tokens(""), &tokens(item)), &expected, item);
    }
    let item = tokens("enum E { #[error(\"a\")] A }");
    assert_all(&crate::error::messages(tokens("extensible = 1"), &item), &["its argument is `crate`"], "");
}

/// Tokens whose sequences are nearly valid or far from valid input.
const PIECES: [&str; 70] = [
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
    "trait T",
    "struct S",
    "enum E",
    "union U",
    "#[rpc(msg_type = 1)]",
    "#[rpc]",
    "#[repr(u8)]",
    "#[repr(C, packed(2))]",
    "fn f(&self, r: &R, s: ReplySlot<'_, [u8]>) -> R;",
    "fn g(&mut self);",
    "a: u8,",
    "b: Nested,",
    "c: [u64; 9999999999999999999999],",
    "A = 1,",
    "B,",
    "-> Result<Cow<[u8]>, impl T>",
    "(s: &S, _: (), r: ReplySlot)",
    "type A;",
    "$",
    "where",
];

fn any_tokens() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..16).prop_map(|pieces| pieces.join(" "))
}

fn any_function() -> impl Strategy<Value = String> {
    (any_tokens(), any_tokens(), any_tokens()).prop_map(|(a, b, c)| format!("{a} fn f (payload: {b}) {c} {{}}"))
}

fn any_service() -> impl Strategy<Value = String> {
    (any_tokens(), any_tokens(), any_tokens())
        .prop_map(|(a, b, c)| format!("{a} trait T {{ #[rpc(msg_type = 1)] fn f (&self, {b}) {c}; {a} }}"))
}

fn any_type() -> impl Strategy<Value = String> {
    (any_tokens(), any_tokens(), any_tokens(), proptest::sample::select(["struct S", "#[repr(u8)] enum E"].as_slice()))
        .prop_map(|(a, b, c, kind)| format!("{a} {kind} {b} {{ {c} }}"))
}

/// The code that the derive makes of the attribute's output.
fn derived(output: &str, derive: impl Fn(&TokenStream) -> TokenStream) -> Option<String> {
    let attribute = |item: &syn::Item| match item {
        syn::Item::Struct(item) => item.attrs.iter().any(|attr| attr.path().is_ident("__tachyon")),
        syn::Item::Enum(item) => item.attrs.iter().any(|attr| attr.path().is_ident("__tachyon")),
        _ => false,
    };
    let file: syn::File = syn::parse_str(output).ok()?;
    let item = file.items.into_iter().find(attribute)?;
    Some(derive(&quote::quote!(#item)).to_string())
}

proptest! {
    #[test]
    fn odd_payloads_never_panic(args in any_tokens(), item in prop_oneof![any_tokens(), any_type()]) {
        if let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>()) {
            let output = crate::payload::payload(args, &item).to_string();
            prop_assert!(output.contains("compile_error") || syn::parse_str::<syn::File>(&output).is_ok(), "{output}");
            if let Some(code) = derived(&output, crate::payload::derive::derive) {
                prop_assert!(syn::parse_str::<syn::File>(&code).is_ok(), "{code}");
            }
        }
    }

    #[test]
    fn odd_errors_never_panic(args in any_tokens(), text in ".{0,12}", item in prop_oneof![any_tokens(), any_type()]) {
        let item = item.replace("\"text\"", &format!("#[error({text:?})]")).replace("struct", "enum");
        if let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>()) {
            let output = crate::error::error(args, &item).to_string();
            prop_assert!(output.contains("compile_error") || syn::parse_str::<syn::File>(&output).is_ok(), "{output}");
            if let Some(code) = derived(&output, crate::error::derive) {
                prop_assert!(syn::parse_str::<syn::File>(&code).is_ok(), "{code}");
            }
        }
    }

    #[test]
    fn odd_fields_never_panic(
        extensible in any::<bool>(),
        types in proptest::collection::vec(
            proptest::sample::select([
                "u8", "bool", "[f32; N]", "String", "Vec<Name>", "Option<Vec<u8>>", "Name", "[Name; 2]", "usize",
                "&'static str", "&str", "Box<u8>", "(u8, u8)", "[u8]", "dyn Any", "Self", "Vec<S>", "!", "fn()",
            ].as_slice()), 1..5),
    ) {
        let fields = types.iter().enumerate().map(|(at, ty)| format!("a{at}: {ty},")).collect::<Vec<_>>().concat();
        let args = if extensible { "extensible" } else { "" };
        for (args, item) in [
            (args, format!("#[derive(Debug, PartialEq)] struct S {{ {fields} }}")),
            ("", format!("#[repr(u8)] enum E {{ A {{ {fields} }}, B }}")),
        ] {
            let output = crate::payload::payload(tokens(args), &tokens(&item)).to_string();
            let code = derived(&output, crate::payload::derive::derive);
            prop_assert!(code.is_none_or(|code| syn::parse_str::<syn::File>(&code).is_ok()), "{output}");
        }
        let item = format!("enum E {{ #[error(\"{{a0}}\")] A {{ {fields} }}, #[error(\"b\")] B }}");
        let output = crate::error::error(tokens(""), &tokens(&item)).to_string();
        let code = derived(&output, crate::error::derive).expect("an enum without generics");
        prop_assert!(syn::parse_str::<syn::File>(&code).is_ok(), "{code}");
    }

    #[test]
    fn odd_tokens_never_panic(args in any_tokens(), item in prop_oneof![any_tokens(), any_function(), any_service()]) {
        // Unbalanced text is no sequence of tokens, and never reaches a macro.
        if let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>()) {
            let output = crate::endpoint::tachyon_rpc(args, &item).to_string();
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
