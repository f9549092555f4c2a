//! `#[tachyon::error]`: an enum of the errors that an endpoint declares.
//!
//! The attribute applies the rules (`check`) and adds a derive (`derive`), which writes the code.

mod check;
mod derive;
mod text;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, ItemEnum};

pub(crate) use self::derive::derive;
use crate::args::{Args, Attr};
use crate::attrs;
use crate::helper::{HELPER, noted_derives};
use crate::library::private;
use crate::report::Report;

/// Checks the enum and adds the derive.
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
    let derives = attrs::filter(&declared.attrs, &noted_derives);
    let mut item = declared.clone();
    item.attrs.retain(|attr| !is_error(attr));
    // A conflicting derive needs the texts.
    let has_conflict = check::conflicting_derive(declared).is_some();
    let is_generic = !declared.generics.params.is_empty();
    if !has_conflict {
        item.variants.iter_mut().for_each(|variant| take_text(variant, is_generic));
    }
    if errors.is_some() && is_generic {
        return quote!(#item #errors);
    }
    let stub = errors.is_some().then(|| if has_conflict { quote!(, stub, conflicting) } else { quote!(, stub) });
    quote_spanned! {Span::mixed_site()=>
        #[derive(#private::DeclaredError)]
        #[__tachyon(library = #library #stub)]
        #derives
        #item
        #errors
    }
}

/// Replaces `#[error("busy", kind = Aborted)]` by `#[__tachyon("busy", kind = Aborted)]`, or removes it if `drop`:
/// rustc could resolve `error` to the library's own attribute.
fn take_text(variant: &mut syn::Variant, drop: bool) {
    let helper = Ident::new(HELPER, Span::mixed_site());
    for field in &mut variant.fields {
        field.attrs.retain(|attr| !check::is_source(attr));
    }
    variant.attrs.retain_mut(|attr| {
        if !is_error(attr) {
            return true;
        }
        let Some(said) = text::said(attr).filter(|_| !drop) else { return false };
        let (text, kind) = (said.text, said.kind.into_iter());
        *attr = syn::parse_quote!(#[#helper(#text #(, kind = #kind)*)]);
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
