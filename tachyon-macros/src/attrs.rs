//! The attributes that generated items copy from the user's item, and the documentation as a constant.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Path, Token};

/// The attributes that generated items share with the user's item: the conditions, so that all items exist or none, and
/// the lint levels, because lints also check the user's tokens in generated code.
pub(crate) fn shared(attrs: &[Attribute]) -> TokenStream {
    filter(attrs, &|meta| {
        if meta.path().is_ident("expect") {
            return expect_as_allow(meta);
        }
        ["cfg", "allow"].iter().any(|name| meta.path().is_ident(name)).then(|| meta.to_token_stream())
    })
}

/// `expect(a, b)` as `allow(a, b)`: the generated items need not fulfil the expectation.
///
/// Lints for dead code are left out: `allow` counts as a use, so the expectation of the function would never be met.
fn expect_as_allow(expect: &Meta) -> Option<TokenStream> {
    let lints = list(expect)?;
    let lints: Vec<&Meta> =
        lints.iter().filter(|lint| !["dead_code", "unused"].iter().any(|name| lint.path().is_ident(name))).collect();
    // An attribute with nothing but a `reason` is invalid.
    lints.iter().any(|lint| matches!(lint, Meta::Path(_))).then(|| quote!(allow(#(#lints),*)))
}

/// The elements `a` and `b` of `name(a, b)`.
fn list(meta: &Meta) -> Option<Punctuated<Meta, Token![,]>> {
    let Meta::List(list) = meta else { return None };
    Punctuated::parse_terminated.parse2(list.tokens.clone()).ok()
}

/// The `deprecated` attribute.
pub(crate) fn deprecation(attrs: &[Attribute]) -> TokenStream {
    filter(attrs, &|meta| meta.path().is_ident("deprecated").then(|| meta.to_token_stream()))
}

/// The `non_exhaustive` attribute, which a payload's view copies.
pub(crate) fn non_exhaustive(attrs: &[Attribute]) -> TokenStream {
    filter(attrs, &|meta| meta.path().is_ident("non_exhaustive").then(|| meta.to_token_stream()))
}

/// The results of `choose` for the attributes. A `cfg_attr` keeps its condition.
pub(crate) fn filter(attrs: &[Attribute], choose: &dyn Fn(&Meta) -> Option<TokenStream>) -> TokenStream {
    attrs
        .iter()
        .filter_map(|attr| {
            let meta = filter_meta(&attr.meta, choose)?;
            Some(quote!(#[#meta]))
        })
        .collect()
}

fn filter_meta(meta: &Meta, choose: &dyn Fn(&Meta) -> Option<TokenStream>) -> Option<TokenStream> {
    if !meta.path().is_ident("cfg_attr") {
        return choose(meta);
    }
    // `cfg_attr(condition, a, b)`
    let metas = list(meta)?;
    let mut metas = metas.iter();
    let condition = metas.next()?;
    let chosen: Vec<_> = metas.filter_map(|meta| filter_meta(meta, choose)).collect();
    if chosen.is_empty() { None } else { Some(quote!(cfg_attr(#condition, #(#chosen),*))) }
}

/// The documentation as an expression of type `&'static str`.
pub(crate) fn documentation(attrs: &[Attribute], private: &Path) -> TokenStream {
    let pieces: Vec<&Expr> = attrs
        .iter()
        .filter_map(|attr| match &attr.meta {
            Meta::NameValue(doc) if doc.path.is_ident("doc") => Some(&doc.value),
            _ => None,
        })
        .collect();
    let literals: Option<Vec<String>> = pieces
        .iter()
        .map(|piece| match piece {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        })
        .collect();
    // Only the compiler can expand `#[doc = include_str!(..)]`.
    literals.map_or_else(|| quote!(#private::concat!(#(#pieces),*)), |lines| unindent(&lines).into_token_stream())
}

/// Joins the lines of doc comments without their common indentation, usually the space after `///`.
fn unindent(pieces: &[String]) -> String {
    let text = pieces.join("\n");
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let shared = text.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let lines: Vec<&str> = text.lines().map(|line| line.get(shared..).unwrap_or("").trim_end()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attrs: &TokenStream) -> Vec<Attribute> {
        let item: syn::ItemFn = syn::parse_quote!(#attrs fn f() {});
        item.attrs
    }

    #[test]
    fn documentation_joins_the_lines_without_their_indentation() {
        let attrs = item(&quote! {
            /// First.
            ///
            ///   - item
            #[doc = " last"]
        });
        let doc = documentation(&attrs, &syn::parse_quote!(p));
        assert_eq!(doc.to_string(), r#""First.\n\n  - item\nlast""#);
        assert_eq!(documentation(&[], &syn::parse_quote!(p)).to_string(), r#""""#);
    }

    #[test]
    fn documentation_leaves_macros_to_the_compiler() {
        let attrs = item(&quote!(#[doc = "a"] #[doc = include_str!("b")]));
        let doc = documentation(&attrs, &syn::parse_quote!(p)).to_string();
        assert_eq!(doc, quote!(p::concat!("a", include_str!("b"))).to_string());
    }

    #[test]
    fn conditions_and_lint_levels_are_shared() {
        let attrs = item(&quote! {
            #[inline]
            #[cfg(unix)]
            #[expect(clippy::pedantic, dead_code)]
            #[expect(dead_code, reason = "r")]
            #[cfg_attr(a, inline)]
            #[cfg_attr(b, inline, cfg(c), cfg_attr(d, allow(e)))]
            #[must_use]
        });
        let expected = quote! {
            #[cfg(unix)]
            #[allow(clippy::pedantic)]
            #[cfg_attr(b, cfg(c), cfg_attr(d, allow(e)))]
        };
        assert_eq!(shared(&attrs).to_string(), expected.to_string());
    }
}
