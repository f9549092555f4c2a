//! `#[tachyon_rpc]` on a trait: a service, with a client, and a dispatch table for any implementor.

mod check;
mod expand;
mod model;
mod stub;

use proc_macro2::{Span, TokenStream};

use crate::args::{Args, Attr};
use crate::report::Report;
use crate::service::model::ServiceTrait;

/// Checks the trait and writes the code of the service, or of a stub after a mistake.
pub(crate) fn tachyon_rpc(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Service, args, Span::call_site(), &mut report);
    let declared = match ServiceTrait::parse(item.clone(), &mut report) {
        Ok(declared) => declared,
        Err(error) => {
            report.syntax(error);
            return crate::endpoint::stub::not_a_function(item, report);
        }
    };
    match (check::check(&args, &declared, &mut report), report.finish()) {
        (Some(service), Ok(())) => expand::service(&service),
        (_, result) => stub::service(&args, &declared, result),
    }
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: TokenStream) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(Attr::Service, args, Span::call_site(), &mut report);
    match ServiceTrait::parse(item, &mut report) {
        Ok(declared) => drop(check::check(&args, &declared, &mut report)),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
