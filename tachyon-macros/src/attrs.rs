//! Which attributes of the function its generated items take over, and its documentation as a constant.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Path, Token};

/// The attributes that generated items share with the function: its conditions, so that all exist or none does, and
/// its lint levels, because the generated code repeats tokens of the function that the lints look at.
pub(crate) fn shared(attrs: &[Attribute]) -> TokenStream {
    taken_over(attrs, &|meta| {
        if meta.path().is_ident("expect") {
            return allowed_instead(meta);
        }
        ["cfg", "allow"].iter().any(|name| meta.path().is_ident(name)).then(|| meta.to_token_stream())
    })
}

/// `expect(a, b)` as `allow(a, b)`: what is expected of the function need not happen in the generated items.
///
/// Not so for dead code, where allowing counts as a use, so that the expectation would never be met.
fn allowed_instead(expect: &Meta) -> Option<TokenStream> {
    let lints = list(expect)?;
    let lints: Vec<&Meta> =
        lints.iter().filter(|lint| !["dead_code", "unused"].iter().any(|name| lint.path().is_ident(name))).collect();
    // A `reason` may be left over.
    lints.iter().any(|lint| matches!(lint, Meta::Path(_))).then(|| quote!(allow(#(#lints),*)))
}

/// The elements of `name(a, b)`.
fn list(meta: &Meta) -> Option<Punctuated<Meta, Token![,]>> {
    let Meta::List(list) = meta else { return None };
    Punctuated::parse_terminated.parse2(list.tokens.clone()).ok()
}

/// The attributes that the generated type takes over for its users.
pub(crate) fn deprecation(attrs: &[Attribute]) -> TokenStream {
    taken_over(attrs, &|meta| meta.path().is_ident("deprecated").then(|| meta.to_token_stream()))
}

/// The attribute of a payload that may get more fields, which its view then gets, too.
pub(crate) fn non_exhaustive(attrs: &[Attribute]) -> TokenStream {
    taken_over(attrs, &|meta| meta.path().is_ident("non_exhaustive").then(|| meta.to_token_stream()))
}

/// What `choose` makes of the attributes, each under the condition of its own.
pub(crate) fn taken_over(attrs: &[Attribute], choose: &dyn Fn(&Meta) -> Option<TokenStream>) -> TokenStream {
    attrs
        .iter()
        .filter_map(|attr| {
            let meta = taken_over_meta(&attr.meta, choose)?;
            Some(quote!(#[#meta]))
        })
        .collect()
}

fn taken_over_meta(meta: &Meta, choose: &dyn Fn(&Meta) -> Option<TokenStream>) -> Option<TokenStream> {
    if !meta.path().is_ident("cfg_attr") {
        return choose(meta);
    }
    // `cfg_attr(condition, a, b)`: the condition is kept and what follows it is chosen from.
    let metas = list(meta)?;
    let mut metas = metas.iter();
    let condition = metas.next()?;
    let chosen: Vec<_> = metas.filter_map(|meta| taken_over_meta(meta, choose)).collect();
    if chosen.is_empty() { None } else { Some(quote!(cfg_attr(#condition, #(#chosen),*))) }
}

/// The function's documentation as an expression of type `&'static str`.
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
    // `#[doc = include_str!(..)]` can only be read by the compiler.
    literals.map_or_else(|| quote!(#private::concat!(#(#pieces),*)), |lines| unindent(&lines).into_token_stream())
}

/// Joins the lines of doc comments and takes off the indentation they share, usually the blank after `///`.
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
