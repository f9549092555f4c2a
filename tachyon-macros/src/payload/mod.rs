//! `#[tachyon::payload]`: a struct or an enum that travels as it lies in memory.

mod check;
mod expand;
mod model;

use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::args::{Args, Attr};
use crate::diag::Report;
use crate::payload::model::Declared;

/// Reads the type, applies the rules, writes the code.
///
/// After a mistake the type stands as it was, and the mistake beside it.
pub(crate) fn payload(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match Declared::parse(item) {
        Ok(declared) => {
            check::check(&declared, &mut report);
            match report.finish() {
                Ok(()) => expand::payload(&args.library, &declared, item),
                Err(errors) => expand::stub(&args.library, &declared, &errors),
            }
        }
        Err(error) => {
            report.syntax(error);
            let errors = report.finish().err();
            quote!(#item #errors)
        }
    }
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: &TokenStream) -> Vec<String> {
    let mut report = Report::default();
    Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match Declared::parse(item) {
        Ok(declared) => check::check(&declared, &mut report),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
