//! The macros of [`tachyon`](https://docs.rs/tachyon), which re-exports them: use them from there.
//!
//! Each macro has a folder: `endpoint` and `service` for `#[tachyon_rpc]`, `payload` for `#[tachyon::payload]`, `error`
//! for `#[tachyon::error]`; `table` is the file of `endpoints!`. In a folder, `model` reads the item, `check`
//! applies the rules, and `expand` or a derive writes the code. After a mistake, `stub` writes code that makes the uses
//! of the item compile. The folders share `contract`, which writes the code for the request and the reply of an
//! endpoint. `types` has the rules for types as far as syntax tells, and `span` the location of errors in generated
//! code.

mod args;
mod attrs;
mod contract;
mod endpoint;
mod error;
mod helper;
mod library;
mod payload;
mod report;
mod service;
mod span;
mod table;
#[cfg(test)]
mod tests;
mod types;

/// Makes a function an endpoint, which another process can call through shared memory, or a trait a service.
///
/// The macro leaves the function as it is, but for the type of a [returned iterator](#streams). It adds a type of the
/// same name, which [`use`] imports together with the function:
///
/// - `echo::MSG_TYPE` is the number of the endpoint on the wire;
/// - `echo::call(&mut caller, ..)` calls the function in the other process and returns the reply as an owned value.
///   `echo::call_in_place` lends the reply in place, without a copy. `echo::start` only sends, and `finish` waits.
///   Write `caller.within(time)` instead of `caller` to limit the time of the whole call, and `&mut &pool` to call
///   through a pool;
/// - `echo::call_async(&caller, ..)` calls from a task, with the cargo feature `tokio` of `tachyon`;
/// - of a stream, in place of these, `quotes::open(&mut caller, ..)` and `quotes::stream(&caller, ..)`, from a task,
///   open the stream: see [below](#streams);
/// - `impl Endpoint for echo` is the entry in a dispatch table, see [`endpoints!`].
///
/// [`use`]: https://doc.rust-lang.org/reference/items/use-declarations.html
///
/// # The function
///
/// The function is free, in a module or in another function. It is not `unsafe`, `extern` or generic. Its parameters,
/// in any order:
///
/// - at most 32 arguments, which travel: numbers and `bool`, `&str`, `&[T]` of fixed payloads, `List<'_, T>` of other
///   types, types marked with [`macro@payload`] (as `&T`, as `T`, or as `TRef<'_>` for a variable payload), an `Option`
///   of these, and owned `String` and `Vec<T>`. A request with other bytes gets an error reply and never reaches the
///   function;
/// - `#[state] state: &S` or `&mut S`, the state of the dispatcher;
/// - `#[context] cx: &Context`, the caller, the deadline and the metadata of the request;
/// - as the last one, a `ReplySlot<'_, T>`, to write the reply in place instead of returning it;
/// - after the arguments, `items: Items<T>` and `out: StreamSender<T>`, the streams of the caller and of the function.
///
/// A single argument is the whole request. Several arguments, and a single `Option`, travel as fields with the names of
/// the parameters: the two sides compare the names, and each side may add optional arguments at the end.
///
/// The function returns a value that travels, owned or borrowed, an `Option` of one, nothing, or a `Result` of one of
/// these. An error type marked with [`macro@error`] reaches the caller typed, any other error that implements `Display`
/// as its text.
///
/// An `async` function, with the cargo feature `tokio` of `tachyon`, runs as a task beside other calls, under
/// `Dispatcher::serve_async`. Its future outlives the request, so it owns its arguments and its reply, and has no reply
/// slot. The state is `&S`, with `S: Send + Sync`.
///
/// # Streams
///
/// A function that returns `impl Iterator<Item = T>`, or `Box<dyn Iterator<Item = T> + Send>`, answers with a stream of
/// items, each of a type that a reply can have. With `Item = Result<T, E>` an error ends the stream; with
/// `Result<impl Iterator<Item = T>, E>` it comes in place of the stream. The serving thread asks the iterator for one
/// item at a time, as far as the caller has room. The iterator outlives the request, so the macro adds `Send + 'static`
/// to the returned type, and an iterator that borrows is an error of the compiler. In a trait, the method and its
/// implementations write `+ 'static` themselves.
///
/// A function with `items: Items<T>` takes a stream of items from its caller, and a function with
/// `out: StreamSender<T>` sends its replies through it and returns nothing, or `Result<(), E>`. A plain function runs
/// on a thread of its own for each stream, an `async` one as a task. It owns its arguments.
///
/// ```
/// use tachyon::{Dispatcher, endpoints, tachyon_rpc, testing};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn words(text: &str) -> impl Iterator<Item = String> {
///     let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
///     words.into_iter()
/// }
///
/// let mut caller = testing::pair(Dispatcher::new(endpoints![words]))?;
/// let received: Result<Vec<String>, _> = words::open(&mut caller, "in three words")?.collect();
/// assert_eq!(received?, ["in", "three", "words"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The trait
///
/// Every method is an endpoint with `#[rpc(msg_type = N)]`, and takes `&self` or `&mut self`: the implementor is the
/// state. The macro adds two types to a trait `Pricing`: `PricingClient`, with a method for each endpoint, and
/// `PricingService`, whose `endpoints::<Implementor>()`, `dispatcher(implementor)` and `shared(arc)` serve any
/// implementor. An `async` method takes `&self`, and its implementor is `Send + Sync`. The client calls through a
/// `Caller` that it owns, a `&mut Caller`, or a pool; `client.starting().method(..)` only sends. The method of a stream
/// opens it, over a caller that is no pool. With the cargo feature
/// `tokio` of `tachyon` there is a third type, `PricingAsyncClient`, for tasks.
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
/// - `codec` (optional, on a function or a method): `"msgpack"` exchanges any owned types of serde instead of the types
///   of this library. It needs the cargo feature `msgpack` of the crate `tachyon`.
/// - `crate` (optional): the path of the `tachyon` library, if it is not `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it. The macro reports all broken rules at once.
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
/// /// Greets a person `times` times.
/// #[tachyon_rpc(msg_type = 2)]
/// fn greet(name: &str, times: u32, greeting: Option<&str>) -> Result<String, &'static str> {
///     if times == 0 {
///         return Err("times must be at least 1");
///     }
///     Ok(format!("{} {name}! ", greeting.unwrap_or("Hello")).repeat(times as usize))
/// }
///
/// assert_eq!(echo(b"x"), b"x"); // the function is unchanged
/// assert_eq!(echo::MSG_TYPE, 1);
/// assert_eq!(greet::DOC, "Greets a person `times` times.");
///
/// let dispatcher = tachyon::Dispatcher::new(endpoints![echo, greet]);
/// assert_eq!(dispatcher.len(), 2);
/// ```
#[proc_macro_attribute]
pub fn tachyon_rpc(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    endpoint::tachyon_rpc(args.into(), &item.into()).into()
}

/// Makes a dispatch table of endpoints: a constant, `&'static [Entry<S>]`.
///
/// Each endpoint is written as the path of its function. A `#[cfg(..)]` before the path includes or excludes the
/// endpoint. `endpoints![crate = path; a, b]` names the path of the `tachyon` library, if it is not `::tachyon`.
/// `endpoints![]` is the empty table, for a dispatcher whose endpoints are added at run time.
///
/// All endpoints with a state have the same state `S`. Endpoints without a state fit every table.
///
/// # Errors
///
/// It is a compile error, at the path of the endpoint, if two endpoints have the same `msg_type`, if two endpoints have
/// different states, or if the path names no endpoint.
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
/// Behind two dots stands another table, such as the table of a service. All endpoints of a table share one state:
///
/// ```
/// use tachyon::{Dispatcher, endpoints, tachyon_rpc};
///
/// #[tachyon_rpc]
/// trait Counter {
///     #[rpc(msg_type = 1)]
///     fn count(&self) -> u64;
/// }
///
/// impl Counter for u64 {
///     fn count(&self) -> u64 {
///         *self
///     }
/// }
///
/// #[tachyon_rpc(msg_type = 2)]
/// fn length(payload: &[u8]) -> u64 {
///     payload.len() as u64
/// }
///
/// let dispatcher = Dispatcher::with_state(7, endpoints![..CounterService::endpoints::<u64>(), length]);
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

/// Makes a struct or an enum a payload: a type whose values travel, with a description of its layout.
///
/// Write the attribute above the derives of the type, because it reads them. Before the first message, the two sides
/// compare the descriptions of their payloads, field by field.
///
/// # Fixed payloads
///
/// A payload is fixed if no field is written as `String`, `Vec` or `Option`. All its values have the same size, and
/// their bytes in a message are those in memory. Its fields are `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`,
/// arrays of these, and other fixed payloads. A fixed payload has no padding: write a gap as a field, such as `_pad:
/// [u8; 4]`. Its alignment is at most 8 bytes. An enum has `#[repr(u8)]` or a larger integer, and variants without
/// fields. The receiver refuses a number that no variant has, and a `bool` that is neither 0 nor 1.
///
/// The macro adds `#[repr(C)]`, `Clone` and `Copy` (unless the type derives them), and `impl Fixed`. A handler receives
/// the payload in place, as `&T`; a payload with a `bool` or an enum is checked and copied first.
///
/// # Variable payloads
///
/// A struct is variable if it has a field `String`, `Vec<T>` or `Option<T>`, where `T` is any type that travels, or a
/// field of another variable payload. A macro cannot resolve names: if an alias hides the `String`, or if the only
/// variable field is `scan: Scan`, write `#[tachyon::payload(extensible)]`. The order of the fields is free, and there
/// is no padding. A payload cannot contain itself.
///
/// The macro adds `impl Value`, and to a struct `Scan` a view `ScanRef<'a>` with the same fields in borrowed form:
/// `&str` for `String`, `&[T]` for a `Vec` of fixed payloads, `List<'_, T>` for another `Vec`, and an `Option` of
/// these. A handler takes a `ScanRef<'_>`, or an owned `Scan`. A caller passes a `&Scan`, or a `ScanRef` of borrowed
/// values. `ScanRef` is `Copy`. `ScanRef::from(&scan)` makes a view, and `into_owned` makes a `Scan` of it. `ScanRef`
/// has `Debug` and `PartialEq` if `Scan` derives them.
///
/// A variable payload can grow: either side may add fields of type `Option` at its end first. A fixed payload cannot
/// grow. If a struct without variable fields is to grow later, make it `extensible` from the start.
///
/// # Arguments
///
/// - `extensible` (optional): the struct is variable, even without a variable field.
/// - `crate` (optional): the path of the `tachyon` library, if it is not `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it. The error says what to write instead.
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
/// A variable payload and its view:
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

#[doc(hidden)]
#[proc_macro_derive(Emit, attributes(__tachyon))]
pub fn emit(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    helper::emit(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes an enum the declared errors of an endpoint: they travel by name and fields, and reach the caller typed.
///
/// Each variant is an error, with named fields or none, and a text in `#[error("..")]`. The text contains fields in
/// braces, as in [`format!`]: `{sensor}`, `{limit:?}`, `{ratio:.2}`. The types of fields are those of a payload's
/// fields, see [`macro@payload`].
///
/// The macro implements [`Display`](std::fmt::Display) by the texts, [`Error`](std::error::Error), `DeclaredError`, and
/// [`Debug`] unless the enum derives it. Write the attribute above the derives of the enum.
///
/// Declared errors can grow: either side may add variants to the enum, and fields of type `Option` at the end of a
/// variant. A caller that does not know a variant gets the error with its name and text.
///
/// # Arguments
///
/// - `crate` (optional): the path of the `tachyon` library, if it is not `::tachyon`.
///
/// # Errors
///
/// Every broken rule is a compile error at the token that breaks it. The error says what to write instead.
///
/// # Examples
///
/// ```
/// use tachyon::payload::DeclaredError;
///
/// #[tachyon::error]
/// enum ScanError {
///     /// No sensor has this number.
///     #[error("no sensor {sensor}")]
///     NoSensor { sensor: u32 },
///     /// Another scan is in progress.
///     #[error("busy")]
///     Busy,
/// }
///
/// assert_eq!(ScanError::NoSensor { sensor: 3 }.to_string(), "no sensor 3");
/// assert_eq!(ScanError::Busy.to_string(), "busy");
/// assert_eq!(ScanError::VARIANTS[0].head.name, "NoSensor");
/// ```
#[proc_macro_attribute]
pub fn error(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    error::error(args.into(), &item.into()).into()
}

#[doc(hidden)]
#[proc_macro_derive(DeclaredError, attributes(__tachyon))]
pub fn derive_error(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    error::derive(&item.into()).into()
}

#[doc(hidden)]
#[proc_macro_derive(Payload, attributes(__tachyon))]
pub fn derive_payload(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    payload::derive::derive(&item.into()).into()
}
