//! The type as written.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::{Attribute, Fields, Generics, Item, ItemEnum, ItemStruct};

use crate::args::Args;
use crate::types::field_type::FieldType;

/// The item below the attribute.
pub(crate) enum PayloadItem {
    Struct(ItemStruct),
    Enum(ItemEnum),
}

impl PayloadItem {
    /// Reads a struct or an enum.
    ///
    /// # Errors
    ///
    /// If the item is another one. The error points at the item.
    pub(crate) fn parse(item: &TokenStream) -> syn::Result<Self> {
        let refused = |tokens: &dyn ToTokens, what: &str| {
            Err(syn::Error::new_spanned(tokens, format!("`payload` marks a struct or an enum{what}")))
        };
        match syn::parse2::<Item>(item.clone())? {
            Item::Struct(item) => Ok(PayloadItem::Struct(item)),
            Item::Enum(item) => Ok(PayloadItem::Enum(item)),
            Item::Union(item) => {
                refused(&item.union_token, ", not a union: the bytes do not tell which field is valid")
            }
            Item::Fn(item) => refused(
                &item.sig.fn_token,
                ", not a function: write `#[tachyon_rpc(msg_type = N)]` to make it an endpoint",
            ),
            Item::Type(item) => refused(&item.type_token, ", not an alias: put it on the type itself"),
            _ => refused(&item, ": put it on the type that travels"),
        }
    }

    /// The type without a second `#[payload]`, which is reported already and would collide with the stub.
    pub(crate) fn without_repeated_attribute(&self) -> TokenStream {
        let keep = |attr: &Attribute| attr.path().segments.last().is_none_or(|last| last.ident != "payload");
        match self {
            PayloadItem::Struct(item) => {
                let mut item = item.clone();
                item.attrs.retain(keep);
                item.into_token_stream()
            }
            PayloadItem::Enum(item) => {
                let mut item = item.clone();
                item.attrs.retain(keep);
                item.into_token_stream()
            }
        }
    }

    /// Whether the payload is variable: a field is written as a type without a fixed size, or the attribute says so.
    pub(crate) fn is_variable(&self, args: &Args) -> bool {
        match self {
            PayloadItem::Struct(ItemStruct { fields: Fields::Named(fields), .. }) => {
                args.extensible.is_some() || fields.named.iter().any(|field| FieldType::of(&field.ty).is_variable())
            }
            _ => false,
        }
    }

    pub(crate) fn name(&self) -> &Ident {
        match self {
            PayloadItem::Struct(item) => &item.ident,
            PayloadItem::Enum(item) => &item.ident,
        }
    }

    pub(crate) fn attrs(&self) -> &[Attribute] {
        match self {
            PayloadItem::Struct(item) => &item.attrs,
            PayloadItem::Enum(item) => &item.attrs,
        }
    }

    pub(crate) fn generics(&self) -> &Generics {
        match self {
            PayloadItem::Struct(item) => &item.generics,
            PayloadItem::Enum(item) => &item.generics,
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
