//! The code of a fixed payload: its bytes are the same in every message.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemEnum, ItemStruct, Path};

use super::derive::{Found, Part, Size, copies, documentation, reply_by_reference};
use super::model::Declared;
use super::spelling::Spelled;
use crate::attrs;
use crate::place::{Place, generated};

/// ```text
/// struct Quote { bid: f64 }   =>   const _: () = {
///                                      const __SHAPE: Shape<1> = shape([(size_of::<f64>(), align_of::<f64>())]);
///                                      const _: () = assert_no_gap_after("bid", &__SHAPE, size_of::<Quote>());
///                                      unsafe impl Fixed for Quote { const LAYOUT: .. fn is_valid(..) }
///                                  };
/// ```
///
/// The implementation is sound: the struct has these fields and no others, at the places that `__SHAPE` has, all of them
/// are `Fixed`, which the uses of their layouts say, the constants look for padding and at the alignment, and each field
/// is checked by its type: a field that is spelled `u8` may be of any type, by an alias.
pub(super) fn payload(declared: &Declared, found: &Found, private: &Path) -> TokenStream {
    match declared {
        Declared::Struct(item) => structure(item, found, private),
        Declared::Enum(item) => enumeration(item, declared, found, private),
    }
}

fn structure(item: &ItemStruct, found: &Found, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let parts: Vec<Part<'_>> = item.fields.iter().filter_map(Part::of).collect();
    let count = parts.len();
    let types = parts.iter().map(|part| &part.ty);
    let unknown: Vec<&Part<'_>> = parts.iter().filter(|part| !matches!(part.spelled, Spelled::Fixed)).collect();
    let unknown_types = unknown.iter().map(|part| &part.ty);
    let bounds = bounds(&unknown, &quote!(#private::Fixed));
    let shared = attrs::shared(&item.attrs);
    let is_fixed = quote_spanned!(Span::mixed_site()=> true #(&& #private::IsFixed::<#unknown_types>::YES)*);
    let asserted = unknown.iter().map(|part| part.travels(Size::Fixed, &shared, private));
    let gaps = gaps(item, &parts, private);
    let copies = copies(name, &bounds, found, private);
    let layout = layout(item, &parts, private);
    let checked = parts.iter().enumerate().map(|(at, part)| {
        let ty = &part.ty;
        quote_spanned!(Span::mixed_site()=> && #private::is_valid::<#ty>(bytes, __SHAPE.offsets[#at]))
    });
    let replies = reply_by_reference(name, &bounds, private);
    let fields = fields(name, &parts, private);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            use #private::{NotDefined as _, NotFixed as _, NotValue as _};
            const __SHAPE: #private::Shape<#count> = #private::shape([
                #((#private::size_of::<#types>(), #private::align_of::<#types>())),*
            ]);
            const __IS_FIXED: #private::bool = #is_fixed;
            #(#asserted)*
            #fields
            #gaps
            #[automatically_derived]
            impl #private::Defined for #name {}
            #copies
            #[automatically_derived]
            unsafe impl #private::Fixed for #name #bounds {
                const LAYOUT: &'static #private::Layout = &#layout;

                #[inline]
                fn is_valid(bytes: &[#private::u8]) -> #private::bool {
                    let _ = bytes;
                    true #(#checked)*
                }
            }
            #replies
        };
    }
}

/// Another attribute may change the struct after this derive has seen it: these are the fields that it has to have, of
/// exactly these types and at these places.
///
/// ```text
/// a: A   =>   const _: fn(&Name) = |Name { a: _ }| ();
///             const _: () = {
///                 let memory = MaybeUninit::<Name>::uninit();
///                 let start = memory.as_ptr();
///                 unsafe { assert_place::<Name, A>(start, &raw const (*start).a, __SHAPE.offsets[0]) };
///             };
/// ```
///
/// The pointers are of one allocation, from which nothing is read. `offset_of!` would report deprecated fields.
fn fields(name: &TokenStream, parts: &[Part<'_>], private: &Path) -> TokenStream {
    let names: Vec<_> = parts.iter().map(|part| &part.name).collect();
    let types = parts.iter().map(|part| &part.ty);
    let at = 0..parts.len();
    quote_spanned! {Span::mixed_site()=>
        const _: fn(&#name) = |#name { #(#names: _),* }| ();
        const _: () = {
            let memory = #private::MaybeUninit::<#name>::uninit();
            let start = memory.as_ptr();
            #(unsafe {
                #private::assert_place::<#name, #types>(start, &raw const (*start).#names, __SHAPE.offsets[#at]);
            })*
        };
    }
}

/// `where for<'fixed> A: Fixed, for<'fixed> B: Fixed`, of the fields' types: where one is no payload, which is reported
/// for itself, the code is no further mistake. A bound of a type without parameters would be one, were it not of all
/// lifetimes.
pub(super) fn bounds(parts: &[&Part<'_>], bound: &TokenStream) -> TokenStream {
    if parts.is_empty() {
        return TokenStream::new();
    }
    let types = parts.iter().map(|part| &part.ty);
    quote_spanned!(Span::mixed_site()=> where #(for<'fixed> #types: #bound),*)
}

/// ```text
/// a: A, b: B   =>   const _: () = if __IS_FIXED { assert_no_gap_before("b", &__SHAPE, 1) };
///                   const _: () = if __IS_FIXED { assert_no_gap_after("b", &__SHAPE, size_of::<T>()) };
/// ```
fn gaps(item: &ItemStruct, parts: &[Part<'_>], private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let asserted = |at: Place, assert: TokenStream| {
        let assert = at.take(assert);
        quote_spanned!(Span::mixed_site()=> const _: () = if __IS_FIXED { #assert };)
    };
    let mut gaps = TokenStream::new();
    for (at, Part { field, text, .. }) in parts.iter().enumerate() {
        let place = Place::of(&field.ident);
        if at > 0 {
            gaps.extend(asserted(place, quote!(#private::assert_no_gap_before(#text, &__SHAPE, #at))));
        }
        if at + 1 == parts.len() {
            let size = quote!(#private::size_of::<#name>());
            gaps.extend(asserted(place, quote!(#private::assert_no_gap_after(#text, &__SHAPE, #size))));
        }
    }
    let place = Place::of(&item.ident);
    gaps.extend(asserted(place, quote!(#private::assert_not_empty(#private::size_of::<#name>()))));
    gaps.extend(asserted(place, quote!(#private::assert_aligned(#private::align_of::<#name>()))));
    gaps
}

/// ```text
/// bid: f64   =>   Layout::Struct(StructLayout { .., fields: &[
///                     Field { name: "bid", layout: <f64 as Fixed>::LAYOUT, offset: __SHAPE.offsets[0] },
///                 ] })
/// ```
fn layout(item: &ItemStruct, parts: &[Part<'_>], private: &Path) -> TokenStream {
    let text = item.ident.unraw().to_string();
    let doc = documentation(&item.attrs, private);
    let fields = parts.iter().enumerate().map(|(at, Part { text, ty, .. })| {
        quote_spanned! {Span::mixed_site()=>
            #private::Field {
                name: #text,
                layout: <#ty as #private::Fixed>::LAYOUT,
                offset: __SHAPE.offsets[#at],
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
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
/// Buy = 1   =>   const LAYOUT: .. = Layout::Enum(EnumLayout { .., repr: Primitive::U8, variants: &[
///                    Variant { name: "Buy", value: Self::Buy as i128 },
///                ] });
///                fn is_valid(bytes: &[u8]) -> bool {
///                    let value = u8::from_le_bytes(number(bytes));
///                    false || value == Self::Buy as u8
///                }
/// ```
fn enumeration(item: &ItemEnum, declared: &Declared, found: &Found, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let text = item.ident.unraw().to_string();
    let doc = documentation(&item.attrs, private);
    let repr = declared.reprs().first().map(|repr| repr.path().to_token_stream().to_string()).unwrap_or_default();
    let integer = Ident::new(&repr, Span::mixed_site());
    let primitive = Ident::new(&repr.to_uppercase(), Span::mixed_site());
    let variants: Vec<TokenStream> = item.variants.iter().map(|variant| generated(&variant.ident)).collect();
    let texts = item.variants.iter().map(|variant| variant.ident.unraw().to_string());
    let copies = copies(name, &TokenStream::new(), found, private);
    let replies = reply_by_reference(name, &TokenStream::new(), private);
    let size = Place::of(&item.ident).take(quote_spanned! {Span::mixed_site()=>
        #private::assert_number(#private::size_of::<#name>(), #private::size_of::<#private::#integer>())
    });
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            const _: () = #size;
            #copies
            #[automatically_derived]
            unsafe impl #private::Fixed for #name {
                const LAYOUT: &'static #private::Layout = &#private::Layout::Enum(#private::EnumLayout {
                    name: #text,
                    doc: #doc,
                    repr: #private::Primitive::#primitive,
                    variants: &[#(#private::Variant { name: #texts, value: Self::#variants as #private::i128 }),*],
                });

                #[inline]
                fn is_valid(bytes: &[#private::u8]) -> #private::bool {
                    let value = #private::#integer::from_le_bytes(#private::number(bytes));
                    false #(|| value == Self::#variants as #private::#integer)*
                }
            }
            #replies
        };
    }
}
