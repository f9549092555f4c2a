//! `#[tachyon_rpc]` on a trait: a service, which is a contract with a client and a table for any implementor.

mod check;
mod expand;
mod fallback;
mod model;

use proc_macro2::{Span, TokenStream};

use crate::args::{Args, Attr};
use crate::diag::Report;
use crate::service::model::Trait;

/// Reads the trait, applies the rules, writes the code.
pub(crate) fn service(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Service, args, Span::call_site(), &mut report);
    let declared = match Trait::parse(item.clone(), &mut report) {
        Ok(declared) => declared,
        Err(error) => {
            report.syntax(error);
            return crate::fallback::not_a_function(item, report);
        }
    };
    match (check::check(&args, &declared, &mut report), report.finish()) {
        (Some(service), Ok(())) => expand::service(&service),
        (_, result) => fallback::service(&args, &declared, result),
    }
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: TokenStream) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(Attr::Service, args, Span::call_site(), &mut report);
    match Trait::parse(item, &mut report) {
        Ok(declared) => drop(check::check(&args, &declared, &mut report)),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
