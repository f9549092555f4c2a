//! The code for a payload.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Field, ItemEnum, ItemStruct, Path};

use super::model::Declared;
use crate::attrs;
use crate::expand::private;
use crate::place::Place;
use crate::wire::{is_plain_data, known_layout};

/// ```text
///                             #[repr(C)]
///                             #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
/// #[tachyon::payload]         #[zerocopy(crate = "tachyon::__private::zerocopy")]
/// struct Quote { bid: f64 }   struct Quote { bid: f64 }
///                         =>  impl Payload for Quote { const LAYOUT: .. }
///                             impl IntoReply for Quote { .. }
///                             const _: () = assert_no_gap_after("bid", size_of::<Quote>(), ..);
/// ```
pub(crate) fn payload(library: &Path, declared: &Declared, item: &TokenStream) -> TokenStream {
    let private = private(library);
    let name = declared.name();
    let shared = attrs::shared(declared.attrs());
    let zerocopy = quote!(#private::zerocopy);
    let zerocopy_text = zerocopy.to_string();
    // Derived conditions end up at the fields, where the compiler says which one breaks them.
    let (repr, from_bytes, layout, asserted) = match declared {
        Declared::Struct(item) => {
            let plain = item.fields.iter().all(|field| is_plain_data(&field.ty));
            let from_bytes = if plain { quote!(FromBytes) } else { quote!(TryFromBytes) };
            let repr = declared.reprs().is_empty().then(|| quote!(#[repr(C)]));
            (repr, from_bytes, struct_layout(item, &private), no_gaps(item, &private))
        }
        Declared::Enum(item) => (None, quote!(TryFromBytes), enum_layout(item, declared, &private), TokenStream::new()),
    };
    let replies = replies(name, &private, &shared);
    let checked = checked(declared, &private);
    quote_spanned! {Span::mixed_site()=>
        #checked
        #repr
        #[derive(#zerocopy::#from_bytes, #zerocopy::IntoBytes, #zerocopy::KnownLayout, #zerocopy::Immutable)]
        #[zerocopy(crate = #zerocopy_text)]
        #item

        #shared
        #[automatically_derived]
        impl #private::Payload for #name {
            const LAYOUT: &'static #private::Layout = &#layout;
        }
        #replies
        #asserted
    }
}

/// The type as it was, the mistakes, and enough of a payload that whoever uses it is not told as well.
pub(crate) fn stub(library: &Path, declared: &Declared, errors: &TokenStream) -> TokenStream {
    let item = declared.without_repeated_attribute();
    let private = private(library);
    let name = declared.name();
    let shared = attrs::shared(declared.attrs());
    let replies = replies(name, &private, &shared);
    // Of a generic type there is no one stub.
    if !declared.generics().params.is_empty() {
        return quote!(#item #errors);
    }
    quote_spanned! {Span::mixed_site()=>
        #item
        #errors

        #shared
        #[automatically_derived]
        impl #private::Element for #name {
            const LAYOUT_OF: &'static #private::Layout = <#private::u8 as #private::Element>::LAYOUT_OF;

            fn bytes_of(_values: &[Self]) -> &[#private::u8] {
                &[]
            }

            fn lend(_bytes: &[#private::u8]) -> #private::Option<&Self> {
                #private::Option::None
            }

            fn lend_all(_bytes: &[#private::u8]) -> #private::Option<&[Self]> {
                #private::Option::None
            }

            fn read_one(bytes: &[#private::u8]) -> #private::Result<Self, #private::Malformed> {
                #private::Result::Err(#private::Malformed::NotEmpty { found: bytes.len() })
            }
        }
        #replies
    }
}

/// ```text
/// struct Quote   =>   impl IntoReply for Quote { .. }
///                     impl IntoReply for &Quote { .. }
/// ```
fn replies(name: &syn::Ident, private: &Path, shared: &TokenStream) -> TokenStream {
    let implement = |ty: TokenStream, value: TokenStream| {
        quote_spanned! {Span::mixed_site()=>
            #shared
            #[automatically_derived]
            impl #private::IntoReply for #ty {
                type Wire = #name;

                fn into_reply(
                    self,
                    reply: #private::Reply<'_>,
                ) -> #private::Result<#private::Replied, #private::HandlerError> {
                    #private::Reply::bytes(reply, #private::Wire::bytes(#value))
                }
            }
        }
    };
    let owned = implement(quote!(#name), quote_spanned!(Span::mixed_site()=> &self));
    let borrowed = implement(quote!(&#name), quote_spanned!(Span::mixed_site()=> self));
    quote!(#owned #borrowed)
}

/// ```text
/// bid: f64   =>   Layout::Struct(StructLayout { .., fields: &[
///                     Field { name: "bid", layout: <f64 as Payload>::LAYOUT, offset: offset_of!(Self, bid) },
///                 ] })
/// ```
fn struct_layout(item: &ItemStruct, private: &Path) -> TokenStream {
    let text = item.ident.unraw().to_string();
    let doc = attrs::documentation(&item.attrs, private);
    let fields = item.fields.iter().filter_map(|Field { ident, ty, .. }| {
        let ident = ident.as_ref()?;
        let text = ident.unraw().to_string();
        Some(quote! {
            #private::Field {
                name: #text,
                layout: <#ty as #private::Payload>::LAYOUT,
                offset: #private::offset_of!(Self, #ident),
            }
        })
    });
    quote! {
        #private::Layout::Struct(#private::StructLayout {
            name: #text,
            doc: #doc,
            size: #private::size_of::<Self>(),
            align: #private::align_of::<Self>(),
            fields: &[#(#fields),*],
        })
    }
}

/// ```text
/// Buy = 1   =>   Layout::Enum(EnumLayout { .., repr: Primitive::U8, variants: &[
///                    Variant { name: "Buy", value: Self::Buy as i128 },
///                ] })
/// ```
fn enum_layout(item: &ItemEnum, declared: &Declared, private: &Path) -> TokenStream {
    let text = item.ident.unraw().to_string();
    let doc = attrs::documentation(&item.attrs, private);
    let repr = declared.reprs().first().map(|repr| repr.path().to_token_stream().to_string()).unwrap_or_default();
    let repr = syn::Ident::new(&repr.to_uppercase(), Span::mixed_site());
    let variants = item.variants.iter().map(|variant| {
        let ident = &variant.ident;
        let text = ident.unraw().to_string();
        let conditions = attrs::shared(&variant.attrs);
        quote!(#conditions #private::Variant { name: #text, value: Self::#ident as #private::i128 })
    });
    quote! {
        #private::Layout::Enum(#private::EnumLayout {
            name: #text,
            doc: #doc,
            repr: #private::Primitive::#repr,
            variants: &[#(#variants),*],
        })
    }
}

/// Before anything else about a field whose type only the compiler knows: whether that is a payload.
///
/// ```text
/// a: A   =>   const _: Option<IsPayload<A>> = Option::None;
/// ```
fn checked(declared: &Declared, private: &Path) -> TokenStream {
    let Declared::Struct(item) = declared else { return TokenStream::new() };
    let shared = attrs::shared(&item.attrs);
    let unknown = item.fields.iter().filter(|field| known_layout(&field.ty).is_none());
    unknown
        .map(|Field { ty, .. }| {
            let asked = Place::of(ty).stand_in(quote!(#private::Option<#private::IsPayload<#ty>>));
            quote!(#shared const _: #asked = #private::Option::None;)
        })
        .collect()
}

/// Where fields have types of the user's, only the compiler knows whether there is padding between them.
///
/// ```text
/// a: A, b: B   =>   const _: () = assert_no_gap_before("b", offset_of!(T, b), offset_of!(T, a) + size_of::<A>());
///                   const _: () = assert_no_gap_after("b", size_of::<T>(), offset_of!(T, b) + size_of::<B>());
///                   const _: () = assert_not_empty(size_of::<T>());
/// ```
fn no_gaps(item: &ItemStruct, private: &Path) -> TokenStream {
    let name = &item.ident;
    let shared = attrs::shared(&item.attrs);
    let end =
        |Field { ident, ty, .. }: &Field| quote!(#private::offset_of!(#name, #ident) + #private::size_of::<#ty>());
    let mut asserted = TokenStream::new();
    let mut before: Option<&Field> = None;
    for field in &item.fields {
        let ident = &field.ident;
        let text = ident.as_ref().map(|ident| ident.unraw().to_string());
        if let Some(before) = before.replace(field) {
            let end = end(before);
            let assert = quote!(#private::assert_no_gap_before(#text, #private::offset_of!(#name, #ident), #end));
            let assert = Place::of(ident).take(assert);
            asserted.extend(quote!(#shared const _: () = #assert;));
        }
    }
    if let Some(last) = before {
        let ident = &last.ident;
        let text = ident.as_ref().map(|ident| ident.unraw().to_string());
        let end = end(last);
        let assert = quote!(#private::assert_no_gap_after(#text, #private::size_of::<#name>(), #end));
        let assert = Place::of(ident).take(assert);
        asserted.extend(quote!(#shared const _: () = #assert;));
    }
    let assert = Place::of(name).take(quote!(#private::assert_not_empty(#private::size_of::<#name>())));
    quote!(#asserted #shared const _: () = #assert;)
}
