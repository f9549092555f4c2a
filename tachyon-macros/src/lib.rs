//! The macros of [`tachyon`](https://docs.rs/tachyon), which re-exports them: use them from there.
//!
//! One call of `#[tachyon_rpc]` goes through the files in this order: `args` (what stands in the parentheses), `model`
//! (what the attribute stands on), `check` (the rules), and then `expand` when all rules hold or `fallback` when one
//! does not. `diag` carries the mistakes, `place` puts those that only rustc can find where they belong, `attrs` knows
//! which attributes are shared. `table` is the whole of `endpoints!`.

mod args;
mod attrs;
mod check;
mod diag;
mod expand;
mod fallback;
mod model;
mod params;
mod payload;
mod place;
mod service;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use proc_macro2::{Span, TokenStream};

use crate::args::{Args, Attr};
use crate::diag::Report;
use crate::model::Function;

/// Makes a function an endpoint: another process can call it through shared memory.
///
/// The function stays as it is. Beside it appears a type of the same name, which [`use`] brings along with the
/// function:
///
/// - `echo::MSG_TYPE` is the number that travels on the wire;
/// - `echo::call(&mut caller, payload)` and `echo::call_timeout(&mut caller, payload, timeout)` call the function in
///   the other process and give its reply, borrowed from shared memory;
/// - `impl Endpoint for echo` is its place in a dispatch table, see [`endpoints!`].
///
/// [`use`]: https://doc.rust-lang.org/reference/items/use-declarations.html
///
/// # The function
///
/// It takes one `&[u8]`, the request as it lies in shared memory. It returns bytes (`Vec<u8>`, `&[u8]`, `[u8; N]`,
/// `Box<[u8]>`, `Cow<[u8]>`, `String`, `&str`), nothing for an empty reply, or a `Result` of one of these, whose error
/// implements `Display`: on `Err` the caller gets an error reply. It is a free function, at any depth of modules or
/// inside another function. It is not `async`, `unsafe`, `extern` or generic.
///
/// # Arguments
///
/// - `msg_type` (required): a number from 0 to 65534, or the path of a `u16` constant with such a value. 65535 marks
///   error replies.
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
/// /// Adds up the bytes of the request.
/// #[tachyon_rpc(msg_type = 2)]
/// fn sum(payload: &[u8]) -> Result<[u8; 4], &'static str> {
///     if payload.is_empty() {
///         return Err("nothing to add up");
///     }
///     Ok(payload.iter().copied().map(u32::from).sum::<u32>().to_be_bytes())
/// }
///
/// assert_eq!(echo(b"x"), b"x"); // still the plain function
/// assert_eq!(echo::MSG_TYPE, 1);
/// assert_eq!(sum::DOC, "Adds up the bytes of the request.");
///
/// let dispatcher = tachyon::Dispatcher::new(endpoints![echo, sum]);
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
/// another state than those before it, and when a name is not an endpoint.
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
/// fn length(payload: &[u8]) -> [u8; 8] {
///     (payload.len() as u64).to_be_bytes()
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

/// Makes a struct or an enum a payload.
#[proc_macro_attribute]
pub fn payload(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    payload::payload(args.into(), &item.into()).into()
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
            report.syntax(error);
            return fallback::not_a_function(item, report);
        }
    };
    match (check::check(&args, &function, &mut report), report.finish()) {
        (Some(endpoint), Ok(())) => expand::endpoint(&endpoint, item),
        (_, result) => fallback::endpoint(&args, &function, item, result),
    }
}
