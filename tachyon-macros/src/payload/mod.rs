//! `#[tachyon::payload]`: a struct or an enum that travels.
//!
//! The attribute applies the rules (`check`) and leaves the code to a derive of its own (`derive`), which writes that of
//! a fixed payload (`fixed`), of a variable one (`variable`), or stand-ins for a type with a mistake (`stub`): rustc does
//! not report deprecated fields, variants and types in what a derive writes, however strict the crate's lints are.

mod check;
pub(crate) mod derive;
mod fixed;
mod model;
pub(crate) mod spelling;
mod stub;
mod variable;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::args::{Args, Attr};
use crate::attrs;
use crate::diag::Report;
use crate::payload::model::Declared;

/// Reads the type and applies the rules.
///
/// ```text
/// #[tachyon::payload]         #[repr(C)] #[derive(Payload)] #[__tachyon(library = ::tachyon, fixed)]
/// struct Quote { bid: f64 }   struct Quote { bid: f64 }
/// ```
pub(crate) fn payload(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match Declared::parse(item) {
        Ok(declared) => {
            check::check(&args, &declared, &mut report);
            derived(&args, &declared, report.finish())
        }
        Err(error) => {
            report.syntax(error);
            let errors = report.finish().err();
            quote!(#item #errors)
        }
    }
}

fn derived(args: &Args, declared: &Declared, checked: Result<(), TokenStream>) -> TokenStream {
    let item = declared.without_repeated_attribute();
    let errors = checked.err();
    if errors.is_some() && !stub::is_possible(declared) {
        return quote!(#item #errors);
    }
    let library = &args.library;
    let private = crate::expand::private(library);
    let is_variable = declared.is_variable(args);
    let is_struct = matches!(declared, Declared::Struct(_));
    let repr = (is_struct && !is_variable && declared.reprs().is_empty()).then(|| quote!(#[repr(C)]));
    let kind = match (&errors, is_variable) {
        (Some(_), false) => quote!(fixed, stub),
        (Some(_), true) => quote!(variable, stub),
        (None, false) => quote!(fixed),
        (None, true) => quote!(variable),
    };
    let seen = attrs::taken_over(declared.attrs(), &derive::seen);
    quote_spanned! {Span::mixed_site()=>
        #repr
        #[derive(#private::Payload)]
        #[__tachyon(library = #library, #kind)]
        #seen
        #item
        #errors
    }
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: &TokenStream) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match Declared::parse(item) {
        Ok(declared) => check::check(&args, &declared, &mut report),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
