//! `#[tachyon::error]`: an enum of the errors that an endpoint declares.
//!
//! As `payload`: the attribute applies the rules (`check`) and leaves the code to a derive of its own (`derive`).

mod check;
mod derive;
mod text;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, ItemEnum};

pub(crate) use self::derive::derive;
use crate::args::{Args, Attr};
use crate::attrs;
use crate::diag::Report;
use crate::expand::private;
use crate::payload::derive::{HELPER, seen};

/// Reads the enum and applies the rules.
///
/// ```text
/// #[tachyon::error]                        #[derive(DeclaredError)] #[__tachyon(library = ::tachyon)]
/// enum E { #[error("busy")] Busy }    =>   enum E { #[__tachyon("busy")] Busy }
/// ```
pub(crate) fn error(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = Args::parse(Attr::Error, args, Span::call_site(), &mut report);
    match check::parse(item) {
        Ok(declared) => {
            check::check(&declared, &mut report);
            derived(&args, &declared, report.finish().err().as_ref())
        }
        Err(error) => {
            report.syntax(error);
            let errors = report.finish().err();
            quote!(#item #errors)
        }
    }
}

fn derived(args: &Args, declared: &ItemEnum, errors: Option<&TokenStream>) -> TokenStream {
    let library = &args.library;
    let private = private(library);
    let seen = attrs::taken_over(&declared.attrs, &seen);
    let mut item = declared.clone();
    item.attrs.retain(|attr| !is_error(attr));
    // Another derive has its own use for the texts.
    let is_foreign = check::foreign_derive(declared).is_some();
    let is_generic = !declared.generics.params.is_empty();
    if !is_foreign {
        item.variants.iter_mut().for_each(|variant| take_text(variant, is_generic));
    }
    if errors.is_some() && is_generic {
        return quote!(#item #errors);
    }
    let stub = errors.is_some().then(|| if is_foreign { quote!(, stub, foreign) } else { quote!(, stub) });
    quote_spanned! {Span::mixed_site()=>
        #[derive(#private::DeclaredError)]
        #[__tachyon(library = #library #stub)]
        #seen
        #item
        #errors
    }
}

/// `#[error("busy")]`, which the library's own attribute could be mistaken for, as `#[__tachyon("busy")]`, or not at
/// all.
fn take_text(variant: &mut syn::Variant, drop: bool) {
    let helper = Ident::new(HELPER, Span::mixed_site());
    for field in &mut variant.fields {
        field.attrs.retain(|attr| !check::is_of_a_source(attr));
    }
    variant.attrs.retain_mut(|attr| {
        if !is_error(attr) {
            return true;
        }
        let Some(text) = text::of(attr).filter(|_| !drop) else { return false };
        let tokens = text.to_token_stream();
        *attr = syn::parse_quote!(#[#helper(#tokens)]);
        true
    });
}

/// Whether an attribute is `#[error(..)]`.
fn is_error(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "error")
}

/// The messages of the rules, for tests.
#[cfg(test)]
pub(crate) fn messages(args: TokenStream, item: &TokenStream) -> Vec<String> {
    let mut report = Report::default();
    Args::parse(Attr::Error, args, Span::call_site(), &mut report);
    match check::parse(item) {
        Ok(declared) => check::check(&declared, &mut report),
        Err(error) => report.syntax(error),
    }
    report.messages()
}
