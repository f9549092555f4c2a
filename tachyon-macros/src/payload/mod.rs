//! `#[tachyon::payload]`: a struct or an enum that travels.
//!
//! The attribute applies the rules (`check`) and adds a derive (`derive`), which writes the code of a fixed payload
//! (`fixed`), of a variable payload (`variable`), or of a payload with a mistake (`stub`). `helper` has the reason for
//! the derive.

mod check;
pub(crate) mod derive;
pub(crate) mod field;
mod fixed;
mod impls;
mod model;
mod stub;
mod variable;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::args::{Args, Attr};
use crate::library::private;
use crate::payload::model::PayloadItem;
use crate::report::Report;
use crate::{attrs, helper};

/// Checks the type and adds the derive.
///
/// ```text
/// #[tachyon::payload]         #[repr(C)] #[derive(Payload)] #[__tachyon(library = ::tachyon, fixed)]
/// struct Quote { bid: f64 }   struct Quote { bid: f64 }
/// ```
pub(crate) fn payload(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match PayloadItem::parse(item) {
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

fn derived(args: &Args, declared: &PayloadItem, checked: Result<(), TokenStream>) -> TokenStream {
    let item = declared.without_repeated_attribute();
    let errors = checked.err();
    if errors.is_some() && !stub::is_possible(declared) {
        return quote!(#item #errors);
    }
    let library = &args.library;
    let private = private(library);
    let is_variable = declared.is_variable(args);
    let is_struct = matches!(declared, PayloadItem::Struct(_));
    let repr = (is_struct && !is_variable && declared.reprs().is_empty()).then(|| quote!(#[repr(C)]));
    let kind = match (&errors, is_variable) {
        (Some(_), false) => quote!(fixed, stub),
        (Some(_), true) => quote!(variable, stub),
        (None, false) => quote!(fixed),
        (None, true) => quote!(variable),
    };
    let derives = attrs::filter(declared.attrs(), &helper::noted_derives);
    quote_spanned! {Span::mixed_site()=>
        #repr
        #[derive(#private::Payload)]
        #[__tachyon(library = #library, #kind)]
        #derives
        #item
        #errors
    }
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: &TokenStream) -> Vec<String> {
    let mut report = Report::default();
    let args = Args::parse(Attr::Payload, args, Span::call_site(), &mut report);
    match PayloadItem::parse(item) {
        Ok(declared) => check::check(&args, &declared, &mut report),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
