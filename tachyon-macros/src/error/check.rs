//! The rules for declared errors. All of them are applied, so that one compile shows every mistake.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Field, Fields, Item, ItemEnum, Meta, Path, Token, Variant};

use super::is_error;
use super::text::{self, Braced};
use crate::diag::Report;
use crate::payload::spelling::refused;

/// Reads an enum.
///
/// # Errors
///
/// When the item is anything else, pointing at what it is instead.
pub(super) fn parse(item: &TokenStream) -> syn::Result<ItemEnum> {
    let refused = |tokens: &dyn ToTokens, what: &str| {
        Err(syn::Error::new_spanned(tokens, format!("`error` stands on an enum, {what}")))
    };
    match syn::parse2::<Item>(item.clone())? {
        Item::Enum(item) => Ok(item),
        Item::Struct(item) => refused(
            &item.struct_token,
            &format!("of which each variant is an error: write `enum {}Error {{ .. }}`", item.ident.unraw()),
        ),
        _ => refused(&item, "of which each variant is an error that an endpoint declares"),
    }
}

/// Applies every rule. The enum is sound only if `report` is empty afterwards.
pub(super) fn check(item: &ItemEnum, report: &mut Report) {
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let (params, clause) = (&item.generics.params, &item.generics.where_clause);
        report.at(quote!(#params #clause), "declared errors have no generics: both sides know all of their fields");
    }
    for attr in item.attrs.iter().filter(|attr| is_error(attr)) {
        report.at(attr, "keep one `error`; the texts stand on the variants");
    }
    if let Some(foreign) = foreign_derive(item) {
        let name = foreign.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        report.at(foreign, format!("`tachyon::error` implements `{name}`, by the same texts: leave this derive out"));
    }
    if item.variants.is_empty() {
        report.at(&item.ident, "without a variant there is no error to declare: return the reply alone");
    }
    for variant in &item.variants {
        check_variant(variant, report);
    }
}

/// The derive of a trait that is implemented here, such as `thiserror::Error`.
pub(super) fn foreign_derive(item: &ItemEnum) -> Option<Path> {
    let derives = item.attrs.iter().filter(|attr| attr.path().is_ident("derive"));
    let paths = derives.filter_map(|attr| {
        attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).ok().map(IntoIterator::into_iter)
    });
    paths
        .flatten()
        .find(|path| path.segments.last().is_some_and(|last| last.ident == "Error" || last.ident == "Display"))
}

fn check_variant(variant: &Variant, report: &mut Report) {
    let name = variant.ident.unraw();
    let mut texts = variant.attrs.iter().filter(|attr| is_error(attr));
    let fields: Vec<&Field> = match &variant.fields {
        Fields::Named(fields) => fields.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(fields) => {
            report
                .at(fields, "the fields of a declared error have names, by which they travel: write `{ name: Type }`");
            // What the text says of them is no further mistake.
            return;
        }
    };
    match texts.next() {
        None => report.at(
            &variant.ident,
            format!("`{name}` has no text: write `#[error(\"..\")]` above it, with its fields in braces"),
        ),
        Some(attr) => match text::of(attr) {
            Some(text) => check_text(&text, variant, &fields, report),
            None if matches!(&attr.meta, Meta::List(list) if list.tokens.to_string() == "transparent") => report.at(
                attr,
                "a declared error travels by its own name and fields: write its text, such as `#[error(\"busy\")]`",
            ),
            None => {
                report.at(attr, "the text is one literal, with fields in braces: `#[error(\"no sensor {sensor}\")]`");
            }
        },
    }
    for more in texts {
        report.at(more, format!("`{name}` has a text already: keep one"));
    }
    for field in fields {
        check_field(field, report);
    }
}

fn check_text(text: &syn::LitStr, variant: &Variant, fields: &[&Field], report: &mut Report) {
    let names: Vec<String> =
        fields.iter().filter_map(|field| field.ident.as_ref()).map(|ident| ident.unraw().to_string()).collect();
    let has = match &names[..] {
        [] => "it has no fields".to_owned(),
        names => format!("its fields are `{}`", names.join("`, `")),
    };
    for braced in text::braced(&text.value()) {
        match braced {
            Braced::Name(name) if names.contains(&name) => {}
            Braced::Name(name) => {
                report.at(text, format!("`{}` has no field `{name}`: {has}", variant.ident.unraw()));
            }
            Braced::Place(_) => {
                let such = names.first().map_or("sensor", String::as_str);
                report.at(text, format!("a field stands in braces by its name, such as `{{{such}}}`: {has}"));
            }
        }
    }
}

/// Whether an attribute of a field is about another error behind this one.
pub(super) fn is_of_a_source(attr: &syn::Attribute) -> bool {
    ["from", "source", "backtrace"].iter().any(|name| attr.path().is_ident(name))
}

fn check_field(field: &Field, report: &mut Report) {
    for attr in &field.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "the fields of an error cannot be conditional: put the `cfg` on the variant");
        }
        if is_of_a_source(attr) {
            report.at(attr, "a declared error has no source: its own fields are all that travels, so leave this out");
        }
    }
    if let Some(name) = field.ident.as_ref().map(IdentExt::unraw)
        && name.to_string().starts_with('_')
    {
        report.at(
            &field.ident,
            format!("a name that begins with `_` is padding, and an error has none: leave `{name}` out, or rename it"),
        );
    }
    if let Some((at, advice)) = refused(&field.ty) {
        report.at(at, advice.replacen("a payload owns", "an error owns", 1));
    }
}
