//! The type as written.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::{Attribute, Fields, Generics, Item, ItemEnum, ItemStruct};

use super::spelling::Spelled;
use crate::args::Args;

/// What the attribute stands on.
pub(crate) enum Declared {
    Struct(ItemStruct),
    Enum(ItemEnum),
}

impl Declared {
    /// Reads a struct or an enum.
    ///
    /// # Errors
    ///
    /// When the item is anything else, pointing at what it is instead.
    pub(crate) fn parse(item: &TokenStream) -> syn::Result<Self> {
        let refused = |tokens: &dyn ToTokens, what: &str| {
            Err(syn::Error::new_spanned(tokens, format!("`payload` stands on a struct or an enum, {what}")))
        };
        match syn::parse2::<Item>(item.clone())? {
            Item::Struct(item) => Ok(Declared::Struct(item)),
            Item::Enum(item) => Ok(Declared::Enum(item)),
            Item::Union(item) => {
                refused(&item.union_token, "not on a union: which of its fields is meant, the bytes do not say")
            }
            Item::Fn(item) => {
                refused(&item.sig.fn_token, "not on a function: `#[tachyon_rpc(msg_type = N)]` makes it an endpoint")
            }
            Item::Type(item) => refused(&item.type_token, "not on an alias: put it on the type itself"),
            _ => refused(&item, "the definition of a type that travels"),
        }
    }

    /// The type without a second `#[payload]`, which has been reported and would collide with the stub.
    pub(crate) fn without_repeated_attribute(&self) -> TokenStream {
        let keep = |attr: &Attribute| attr.path().segments.last().is_none_or(|last| last.ident != "payload");
        match self {
            Declared::Struct(item) => {
                let mut item = item.clone();
                item.attrs.retain(keep);
                item.into_token_stream()
            }
            Declared::Enum(item) => {
                let mut item = item.clone();
                item.attrs.retain(keep);
                item.into_token_stream()
            }
        }
    }

    /// Whether the type has a head: a field of it is spelled as one without a fixed size, or the attribute says so.
    pub(crate) fn is_variable(&self, args: &Args) -> bool {
        match self {
            Declared::Struct(ItemStruct { fields: Fields::Named(fields), .. }) => {
                args.extensible.is_some() || fields.named.iter().any(|field| Spelled::of(&field.ty).is_variable())
            }
            _ => false,
        }
    }

    pub(crate) fn name(&self) -> &Ident {
        match self {
            Declared::Struct(item) => &item.ident,
            Declared::Enum(item) => &item.ident,
        }
    }

    pub(crate) fn attrs(&self) -> &[Attribute] {
        match self {
            Declared::Struct(item) => &item.attrs,
            Declared::Enum(item) => &item.attrs,
        }
    }

    pub(crate) fn generics(&self) -> &Generics {
        match self {
            Declared::Struct(item) => &item.generics,
            Declared::Enum(item) => &item.generics,
        }
    }

    /// The words between the parentheses of `repr(..)`.
    pub(crate) fn reprs(&self) -> Vec<syn::Meta> {
        let list = |attr: &Attribute| match &attr.meta {
            syn::Meta::List(list) if attr.path().is_ident("repr") => list
                .parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
                .ok()
                .map(|metas| metas.into_iter().collect::<Vec<_>>()),
            _ => None,
        };
        self.attrs().iter().filter_map(list).flatten().collect()
    }
}
