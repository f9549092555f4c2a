//! The rules for declared errors. Every rule is applied, so that one compile shows every mistake.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Field, Fields, Item, ItemEnum, Meta, Path, Token, Variant};

use super::is_error;
use super::text::{self, Placeholder, Said};
use crate::report::Report;
use crate::types::advice::field_advice;

/// Reads an enum.
///
/// # Errors
///
/// If the item is not an enum. The error points at the item.
pub(super) fn parse(item: &TokenStream) -> syn::Result<ItemEnum> {
    let refused = |tokens: &dyn ToTokens, what: &str| {
        Err(syn::Error::new_spanned(tokens, format!("`error` marks an enum, {what}")))
    };
    match syn::parse2::<Item>(item.clone())? {
        Item::Enum(item) => Ok(item),
        Item::Struct(item) => refused(
            &item.struct_token,
            &format!("whose variants are the errors: write `enum {}Error {{ .. }}`", item.ident.unraw()),
        ),
        _ => refused(&item, "whose variants are the errors: put it on that enum"),
    }
}

/// Applies every rule. The enum is valid only if `report` is empty afterwards.
pub(super) fn check(item: &ItemEnum, report: &mut Report) {
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let (params, clause) = (&item.generics.params, &item.generics.where_clause);
        report.at(quote!(#params #clause), "declared errors cannot be generic: both sides know all fields");
    }
    for attr in item.attrs.iter().filter(|attr| is_error(attr)) {
        report.at(attr, "the enum is marked already, and the texts belong to the variants: keep one `error`");
    }
    if let Some(conflicting) = conflicting_derive(item) {
        let name = conflicting.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        report.at(
            conflicting,
            format!("`tachyon::error` implements `{name}` already, by the same texts: remove this derive"),
        );
    }
    if item.variants.is_empty() {
        report.at(&item.ident, "an enum without a variant declares no error: return the reply without a `Result`");
    }
    for variant in &item.variants {
        check_variant(variant, report);
    }
}

/// The derive of a trait that `tachyon::error` implements, such as `thiserror::Error`.
pub(super) fn conflicting_derive(item: &ItemEnum) -> Option<Path> {
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
                .at(fields, "the fields of a declared error need names, by which they travel: write `{ name: Type }`");
            // A text about these fields is no further mistake.
            return;
        }
    };
    match texts.next() {
        None => report.at(
            &variant.ident,
            format!("`{name}` has no text: write `#[error(\"..\")]` above it, with fields in braces"),
        ),
        Some(attr) => match text::said(attr) {
            Some(said) => check_said(&said, variant, &fields, report),
            None if matches!(&attr.meta, Meta::List(list) if list.tokens.to_string() == "transparent") => {
                report.at(attr, "a declared error needs its own text: write a literal, such as `#[error(\"busy\")]`");
            }
            None => {
                report.at(
                    attr,
                    "the text is one literal, with fields in braces: write it as in `#[error(\"no sensor {sensor}\")]`",
                );
            }
        },
    }
    for more in texts {
        report.at(more, format!("`{name}` has two texts: keep one"));
    }
    for field in fields {
        check_field(field, report);
    }
}

fn check_said(said: &Said, variant: &Variant, fields: &[&Field], report: &mut Report) {
    if !said.rest.is_empty() {
        report.at(
            &said.rest,
            "the text is one literal, and only a kind follows it: write it as in `#[error(\"no sensor \
             {sensor}\", kind = NotFound)]`",
        );
        return;
    }
    check_text(&said.text, variant, fields, report);
    if let Some(kind) = said.kind.as_ref().filter(|kind| !text::KINDS.contains(&kind.to_string().as_str())) {
        report.at(kind, format!("`{kind}` is no kind of a declared error: write one of {}", text::KINDS.join(", ")));
    }
}

fn check_text(text: &syn::LitStr, variant: &Variant, fields: &[&Field], report: &mut Report) {
    let names: Vec<String> =
        fields.iter().filter_map(|field| field.ident.as_ref()).map(|ident| ident.unraw().to_string()).collect();
    let has = match &names[..] {
        [] => "it has no fields".to_owned(),
        names => format!("its fields are `{}`", names.join("`, `")),
    };
    for placeholder in text::placeholders(&text.value()) {
        match placeholder {
            Placeholder::Name(name) if names.contains(&name) => {}
            Placeholder::Name(name) => {
                report.at(text, format!("`{}` has no field `{name}`: {has}", variant.ident.unraw()));
            }
            Placeholder::Position(_) => {
                let such = names.first().map_or("sensor", String::as_str);
                report.at(text, format!("write a field in braces by its name, such as `{{{such}}}`: {has}"));
            }
        }
    }
}

/// Whether an attribute of a field marks the source of the error.
pub(super) fn is_source(attr: &syn::Attribute) -> bool {
    ["from", "source", "backtrace"].iter().any(|name| attr.path().is_ident(name))
}

fn check_field(field: &Field, report: &mut Report) {
    for attr in &field.attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            report.at(attr, "the fields of an error cannot be conditional: move the `cfg` to the variant");
        }
        if is_source(attr) {
            report.at(attr, "a declared error has no source, because only its fields travel: remove this attribute");
        }
    }
    if let Some(name) = field.ident.as_ref().map(IdentExt::unraw)
        && name.to_string().starts_with('_')
    {
        report.at(
            &field.ident,
            format!("a name that begins with `_` is padding, and an error has none: remove `{name}` or rename it"),
        );
    }
    if let Some((at, advice)) = field_advice(&field.ty) {
        report.at(at, advice);
    }
}
