//! The macros of [`tachyon`](https://docs.rs/tachyon), which re-exports them: use them from there.
//!
//! One call of `#[tachyon_rpc]` goes through the files in this order: `args` (what stands in the parentheses), `model`
//! (what the attribute stands on), `check` and `params` (the rules), and then `expand` when all rules hold or `fallback`
//! when one does not. `service` does the same for a trait, `payload` for `#[tachyon::payload]` and `error` for
//! `#[tachyon::error]`; these two leave the code to derives of their own. `wire` and `payload::spelling` know which types
//! travel, `diag` carries the mistakes, `place` puts those that only rustc can find where they belong, `attrs` knows
//! which attributes are shared, `renamed` how the crate calls the library. `table` is the whole of `endpoints!`.

mod args;
mod attrs;
mod check;
mod contract;
mod diag;
mod error;
mod expand;
mod fallback;
mod model;
mod params;
mod payload;
mod place;
mod renamed;
mod service;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use proc_macro2::{Span, TokenStream};

use crate::args::{Args, Attr};
use crate::diag::Report;
use crate::model::Function;

/// Makes a function an endpoint, which another process can call through shared memory, or a trait a service.
///
/// The function stays as it is. Beside it appears a type of the same name, which [`use`] brings along with the
/// function:
///
/// - `echo::MSG_TYPE` is the number that travels on the wire;
/// - `echo::call(&mut caller, ..)` calls the function in the other process and returns its reply, owned;
///   `echo::call_in_place` lends the reply where it lies, and `echo::start` sends without waiting. `caller.within(time)`
///   in place of `caller` limits the time;
/// - `impl Endpoint for echo` is its place in a dispatch table, see [`endpoints!`].
///
/// [`use`]: https://doc.rust-lang.org/reference/items/use-declarations.html
///
/// # The function
///
/// It is a free function, at any depth of modules or inside another function. It is not `async`, `unsafe`, `extern` or
/// generic. Its parameters, in any order:
///
/// - arguments, which travel: numbers and `bool`, `&str`, `&[T]` of fixed payloads, `List<'_, T>` of others, types marked
///   with [`macro@payload`] (as `&T`, `T`, or `TRef<'_>` for one without a fixed size), an `Option` of these, and owned
///   `String` and `Vec<T>`. A request that is nothing of the kind never reaches the function;
/// - `#[state] state: &S` or `&mut S`, the state of the dispatcher;
/// - `#[context] cx: &Context`, who calls and until when the reply is awaited;
/// - last, a `ReplySlot<'_, T>`, to write the reply in place instead of returning it.
///
/// One argument is the whole request. Several, and an `Option` alone, are fields by the names of the parameters: both
/// sides compare the names, and may add optional ones at the end.
///
/// It returns a value that travels, owned or borrowed, an `Option` of one, nothing, or a `Result` of one of these. An
/// error marked with [`macro@error`] arrives as itself, any other that implements `Display` as its text.
///
/// # The trait
///
/// Every method is an endpoint, with `#[rpc(msg_type = N)]`, and takes `&self` or `&mut self`: the implementor is the
/// state. Beside a trait `Pricing` appear `PricingClient`, with a method for each endpoint, and `PricingService`, whose
/// `endpoints::<Implementor>()` and `dispatcher(implementor)` serve anything that implements the trait.
///
/// ```
/// use tachyon::{CallError, Caller, tachyon_rpc};
///
/// #[tachyon_rpc]
/// pub trait Counter {
///     /// Adds up.
///     #[rpc(msg_type = 1)]
///     fn add(&mut self, numbers: &[u64]) -> u64;
/// }
///
/// struct Sum(u64);
///
/// impl Counter for Sum {
///     fn add(&mut self, numbers: &[u64]) -> u64 {
///         self.0 += numbers.iter().sum::<u64>();
///         self.0
///     }
/// }
///
/// assert_eq!(CounterService::dispatcher(Sum(0)).len(), 1);
///
/// fn client(caller: &mut Caller) -> Result<u64, CallError> {
///     CounterClient::new(caller).add(&[1, 2, 3])
/// }
/// ```
///
/// # Arguments
///
/// - `msg_type` (required on a function, absent on a trait): a number from 0 to 65534, or the path of a `u16` constant
///   with such a value. 65535 marks error replies.
/// - `crate` (optional): the path of the `tachyon` library, where it is not called `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it, and all of them are reported at once.
///
/// # Examples
///
/// ```
/// use tachyon::{endpoints, tachyon_rpc, Endpoint};
///
/// /// Sends the request back.
/// #[tachyon_rpc(msg_type = 1)]
/// fn echo(payload: &[u8]) -> Vec<u8> {
///     payload.to_vec()
/// }
///
/// /// Greets a person so many times.
/// #[tachyon_rpc(msg_type = 2)]
/// fn greet(name: &str, times: u32, greeting: Option<&str>) -> Result<String, &'static str> {
///     if times == 0 {
///         return Err("no greeting at all");
///     }
///     Ok(format!("{} {name}! ", greeting.unwrap_or("Hello")).repeat(times as usize))
/// }
///
/// assert_eq!(echo(b"x"), b"x"); // still the plain function
/// assert_eq!(echo::MSG_TYPE, 1);
/// assert_eq!(greet::DOC, "Greets a person so many times.");
///
/// let dispatcher = tachyon::Dispatcher::new(endpoints![echo, greet]);
/// assert_eq!(dispatcher.len(), 2);
/// ```
#[proc_macro_attribute]
pub fn tachyon_rpc(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    endpoint(args.into(), &item.into()).into()
}

/// Lists endpoints for a dispatcher: a constant table, `&'static [Entry<S>]`.
///
/// Each endpoint is named by its path, as functions are. A `#[cfg(..)]` before a name takes it in or leaves it out.
/// `endpoints![crate = path; a, b]` names the `tachyon` library where it is not called `::tachyon`. `endpoints![]` is
/// the empty table, for a dispatcher that is filled at run time.
///
/// # Errors
///
/// It is a compile error, at the name in question, when two endpoints have the same `msg_type`, when an endpoint has
/// another state than those before it, and when a name is not an endpoint. Endpoints without state go with any.
///
/// # Examples
///
/// ```
/// use tachyon::{endpoints, tachyon_rpc, Dispatcher};
///
/// mod greetings {
///     use tachyon::tachyon_rpc;
///
///     /// Greets.
///     #[tachyon_rpc(msg_type = 1)]
///     pub fn hello(_payload: &[u8]) -> &'static str {
///         "hello"
///     }
/// }
///
/// /// Counts the bytes of the request.
/// #[tachyon_rpc(msg_type = 2)]
/// fn length(payload: &[u8]) -> u64 {
///     payload.len() as u64
/// }
///
/// let dispatcher = Dispatcher::new(endpoints![greetings::hello, length]);
/// assert_eq!(dispatcher.len(), 2);
/// ```
///
/// Two endpoints cannot share a `msg_type`:
///
/// ```compile_fail
/// # use tachyon::{endpoints, tachyon_rpc, Dispatcher};
/// #[tachyon_rpc(msg_type = 1)]
/// fn one(_payload: &[u8]) {}
/// #[tachyon_rpc(msg_type = 1)]
/// fn other(_payload: &[u8]) {}
///
/// let dispatcher = Dispatcher::new(endpoints![one, other]);
/// ```
#[proc_macro]
pub fn endpoints(names: proc_macro::TokenStream) -> proc_macro::TokenStream {
    table::expand(names.into()).into()
}

/// Makes a struct or an enum a payload: a type that travels, and describes itself.
///
/// Put it above the type's derives, which it looks at. The two sides compare the descriptions of their payloads, field
/// by field, before they exchange the first message.
///
/// # Fixed payloads
///
/// A payload has one size, and its bytes are the same in every message, if no field is spelled `String`, `Vec` or
/// `Option`. Its fields are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, arrays of these, and other fixed
/// payloads, without padding: gaps are fields of their own, such as `_pad: [u8; 4]`. An enum has `#[repr(u8)]` or a larger
/// integer, and variants without fields. A value that the type does not have is refused when it arrives.
///
/// The macro adds `#[repr(C)]`, `Clone` and `Copy` (unless the type derives them), and `impl Fixed`. A handler is lent
/// the payload where it lies, `&T`; a copy, if it has a `bool` or an enum.
///
/// # Variable payloads
///
/// A struct with a field `String`, `Vec<T>` or `Option<T>` is variable, where `T` is of any type that travels; so is one
/// with another variable payload in it. A macro cannot see through names: where `String` hides behind an alias, or the
/// one variable field is `scan: Scan`, write `#[tachyon::payload(extensible)]`. The order of fields is free, and there is
/// no padding. A payload cannot contain itself.
///
/// The macro adds `impl Value`, and beside a struct `Scan` a struct `ScanRef<'a>` with the same fields, borrowed: `&str`
/// for `String`, `&[T]` for a `Vec` of fixed payloads, `List<'_, T>` for a `Vec` of others, an `Option` of these. A
/// handler takes a `ScanRef<'_>`, or an owned `Scan`; a caller passes a `&Scan`, or a `ScanRef` that it makes of what it
/// has. `ScanRef` is `Copy`, made by `ScanRef::from(&scan)`, and owned by `into_owned`; it has `Debug` and `PartialEq` if
/// `Scan` derives them.
///
/// A variable payload grows: fields of type `Option` may be added at its end, on either side first. A fixed one does
/// not, unless it is `extensible` from its first day.
///
/// # Arguments
///
/// - `extensible` (optional): the struct is variable although no field's type says so.
/// - `crate` (optional): the path of the `tachyon` library, where it is not called `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it, and says what to write instead.
///
/// # Examples
///
/// ```
/// #[tachyon::payload]
/// #[repr(u8)]
/// enum Side {
///     Buy = 1,
///     Sell = 2,
/// }
///
/// #[tachyon::payload]
/// struct Order {
///     instrument: u64,
///     account: [u8; 6],
///     side: Side,
///     _pad: [u8; 1],
/// }
///
/// /// Takes an order.
/// #[tachyon::tachyon_rpc(msg_type = 1)]
/// fn order(order: &Order) -> Result<u64, &'static str> {
///     if order.instrument == 0 { Err("no such instrument") } else { Ok(1) }
/// }
/// # let _ = (Side::Buy, Side::Sell, order);
/// ```
///
/// A variable payload, and what it is lent as:
///
/// ```
/// #[tachyon::payload]
/// #[derive(Debug, Clone, PartialEq)]
/// struct Scan {
///     taken_at: u64,
///     frame: String,
///     points: Vec<[f32; 2]>,
///     note: Option<String>,
/// }
///
/// let scan = Scan { taken_at: 7, frame: "base".into(), points: vec![[0.0, 1.0]], note: None };
/// let lent = ScanRef::from(&scan);
/// let (frame, points): (&str, &[[f32; 2]]) = (lent.frame, lent.points);
/// assert_eq!((frame, points.len()), ("base", 1));
/// assert_eq!(ScanRef { note: Some("moved"), ..lent }.into_owned().note, Some("moved".to_owned()));
/// ```
///
/// Padding does not compile:
///
/// ```compile_fail
/// #[tachyon::payload]
/// struct Order {
///     side: u8,
///     instrument: u64,
/// }
/// ```
#[proc_macro_attribute]
pub fn payload(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    payload::payload(args.into(), &item.into()).into()
}

/// Writes the code of an endpoint or a service. No part of the public API.
#[doc(hidden)]
#[proc_macro_derive(Emit, attributes(__tachyon))]
pub fn emit(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::emit(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes an enum the errors that an endpoint declares: they travel by name and fields, and arrive typed.
///
/// Each variant is an error, with named fields or none, and a text in `#[error("..")]`. The text shows fields in braces,
/// as [`format!`] does: `{sensor}`, `{limit:?}`, `{ratio:.2}`. Fields are of any type that a payload's field may have,
/// see [`macro@payload`].
///
/// It implements [`Display`](std::fmt::Display) by the texts, [`Error`](std::error::Error), [`Debug`] unless the enum
/// derives it, and `DeclaredError`. Put it above the enum's derives.
///
/// A variant may get more fields at its end, if they are `Option`s, and the enum more variants: a caller that does not
/// know a name gets the error with its name and text.
///
/// # Arguments
///
/// - `crate` (optional): the path of the `tachyon` library, where it is not called `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it, and says what to write instead.
///
/// # Examples
///
/// ```
/// use tachyon::DeclaredError;
///
/// #[tachyon::error]
/// enum ScanError {
///     /// There is none of this number.
///     #[error("no sensor {sensor}")]
///     NoSensor { sensor: u32 },
///     /// Another scan is under way.
///     #[error("busy")]
///     Busy,
/// }
///
/// assert_eq!(ScanError::NoSensor { sensor: 3 }.to_string(), "no sensor 3");
/// assert_eq!(ScanError::Busy.to_string(), "busy");
/// assert_eq!(ScanError::VARIANTS[0].name, "NoSensor");
/// ```
#[proc_macro_attribute]
pub fn error(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    error::error(args.into(), &item.into()).into()
}

/// Writes the code of declared errors, for [`macro@error`], which is what to write.
#[doc(hidden)]
#[proc_macro_derive(DeclaredError, attributes(__tachyon))]
pub fn derive_error(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    error::derive(&item.into()).into()
}

/// Writes the code of a payload, for [`macro@payload`], which is what to write.
#[doc(hidden)]
#[proc_macro_derive(Payload, attributes(__tachyon))]
pub fn derive_payload(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    payload::derive::derive(&item.into()).into()
}

fn endpoint(args: TokenStream, item: &TokenStream) -> TokenStream {
    if model::is_trait(item) {
        return service::service(args, item);
    }
    let mut report = Report::default();
    let args = Args::parse(Attr::Endpoint, args, Span::call_site(), &mut report);
    let function = match Function::parse(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // Alone: what stands in the parentheses is of no use there.
            let mut report = Report::default();
            report.syntax(error);
            return fallback::not_a_function(item, report);
        }
    };
    match (check::check(&args, &function, &mut report), report.finish()) {
        (Some(endpoint), Ok(())) => expand::endpoint(&endpoint, item),
        (_, result) => fallback::endpoint(&args, &function, item, result),
    }
}
