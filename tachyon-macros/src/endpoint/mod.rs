//! `#[tachyon_rpc]` on a function: an endpoint.

pub(crate) mod asynchronous;
pub(crate) mod check;
pub(crate) mod expand;
pub(crate) mod model;
pub(crate) mod params;
pub(crate) mod streams;
pub(crate) mod stub;

use proc_macro2::{Span, TokenStream};

use self::model::Function;
use crate::args::{Args, Attr};
use crate::report::Report;
use crate::service;

/// Checks the function and writes the code of the endpoint, or of a stub after a mistake. A trait becomes a service.
pub(crate) fn tachyon_rpc(args: TokenStream, item: &TokenStream) -> TokenStream {
    if model::is_trait(item) {
        return service::tachyon_rpc(args, item);
    }
    let mut report = Report::default();
    let args = Args::parse(Attr::Endpoint, args, Span::call_site(), &mut report);
    let function = match Function::parse(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // A new report: without a function, mistakes in the arguments do not matter.
            let mut report = Report::default();
            report.syntax(error);
            return stub::not_a_function(item, report);
        }
    };
    match (check::check(&args, &function, &mut report), report.finish()) {
        (Some(endpoint), Ok(())) => expand::endpoint(&endpoint, item),
        (_, result) => stub::endpoint(&args, &function, item, result),
    }
}
