//! The code of a fixed payload: every value has the same size, and its bytes in a message are its bytes in memory.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemEnum, ItemStruct, Path};

use super::field::{FieldCode, SizeRule};
use super::impls::{impl_copy, impl_reply_by_reference};
use super::model::PayloadItem;
use crate::attrs;
use crate::helper::HelperArgs;
use crate::span::{SpanRange, generated};
use crate::types::field_type::FieldType;

/// ```text
/// struct Quote { bid: f64 }   =>   const _: () = {
///                                      const __SHAPE: Shape<1> = shape([(size_of::<f64>(), align_of::<f64>())]);
///                                      const _: () = assert_no_gap_after("bid", &__SHAPE, size_of::<Quote>());
///                                      unsafe impl Fixed for Quote { const LAYOUT: .. fn is_valid(..) }
///                                  };
/// ```
///
/// The `unsafe impl` is sound. The struct has exactly these fields at the offsets of `__SHAPE` (`assert_fields`). Each
/// field is `Fixed`, since the code names its `LAYOUT`. Constants refuse padding and too large alignment. `is_valid`
/// checks each field by its type and not by its syntax: `u8` may be an alias of another type.
pub(super) fn payload(declared: &PayloadItem, helper: &HelperArgs, private: &Path) -> TokenStream {
    match declared {
        PayloadItem::Struct(item) => struct_code(item, helper, private),
        PayloadItem::Enum(item) => enum_code(item, declared, helper, private),
    }
}

fn struct_code(item: &ItemStruct, helper: &HelperArgs, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let fields: Vec<FieldCode<'_>> = item.fields.iter().filter_map(FieldCode::of).collect();
    let count = fields.len();
    let types = fields.iter().map(|field| &field.ty);
    let unknown: Vec<&FieldCode<'_>> =
        fields.iter().filter(|field| !matches!(field.field_type, FieldType::Fixed)).collect();
    let unknown_types = unknown.iter().map(|field| &field.ty);
    let bounds = bounds(&unknown, &quote!(#private::Fixed));
    let shared = attrs::shared(&item.attrs);
    let is_fixed = quote_spanned!(Span::mixed_site()=> true #(&& #private::IsFixed::<#unknown_types>::YES)*);
    let asserted = unknown.iter().map(|field| field.assert_travels(SizeRule::Fixed, &shared, private));
    let gaps = assert_no_gaps(item, &fields, private);
    let copies = impl_copy(name, &bounds, helper, private);
    let layout = layout(item, &fields, private);
    let checked = fields.iter().enumerate().map(|(at, field)| {
        let ty = &field.ty;
        quote_spanned!(Span::mixed_site()=> && #private::is_valid::<#ty>(bytes, __SHAPE.offsets[#at]))
    });
    let replies = impl_reply_by_reference(name, &bounds, private);
    let assert_fields = assert_fields(name, &fields, private);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            use #private::{NotDefined as _, NotFixed as _, NotValue as _};
            const __SHAPE: #private::Shape<#count> = #private::shape([
                #((#private::size_of::<#types>(), #private::align_of::<#types>())),*
            ]);
            const __IS_FIXED: #private::bool = #is_fixed;
            #(#asserted)*
            #assert_fields
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

/// Asserts that the struct has exactly these fields, of these types and at these offsets: another attribute may change
/// the struct after this derive has seen it.
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
/// The pointers point into one allocation, and nothing is read. `offset_of!` would report deprecated fields.
fn assert_fields(name: &TokenStream, fields: &[FieldCode<'_>], private: &Path) -> TokenStream {
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let types = fields.iter().map(|field| &field.ty);
    let at = 0..fields.len();
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

/// `where for<'fixed> A: Fixed, for<'fixed> B: Fixed` for the fields' types: a field that is no payload, which is
/// reported already, makes the implementation inapplicable and is no further error. Without `for<'fixed>`, rustc would
/// report the bound of a type without parameters.
pub(super) fn bounds(fields: &[&FieldCode<'_>], bound: &TokenStream) -> TokenStream {
    if fields.is_empty() {
        return TokenStream::new();
    }
    let types = fields.iter().map(|field| &field.ty);
    quote_spanned!(Span::mixed_site()=> where #(for<'fixed> #types: #bound),*)
}

/// ```text
/// a: A, b: B   =>   const _: () = if __IS_FIXED { assert_no_gap_before("b", &__SHAPE, 1) };
///                   const _: () = if __IS_FIXED { assert_no_gap_after("b", &__SHAPE, size_of::<T>()) };
/// ```
fn assert_no_gaps(item: &ItemStruct, fields: &[FieldCode<'_>], private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let asserted = |span: SpanRange, assert: TokenStream| {
        let assert = span.located(assert);
        quote_spanned!(Span::mixed_site()=> const _: () = if __IS_FIXED { #assert };)
    };
    let mut gaps = TokenStream::new();
    for (at, FieldCode { written, text, .. }) in fields.iter().enumerate() {
        let span = SpanRange::of(&written.ident);
        if at > 0 {
            gaps.extend(asserted(span, quote!(#private::assert_no_gap_before(#text, &__SHAPE, #at))));
        }
        if at + 1 == fields.len() {
            let size = quote!(#private::size_of::<#name>());
            gaps.extend(asserted(span, quote!(#private::assert_no_gap_after(#text, &__SHAPE, #size))));
        }
    }
    let span = SpanRange::of(&item.ident);
    gaps.extend(asserted(span, quote!(#private::assert_not_empty(#private::size_of::<#name>()))));
    gaps.extend(asserted(span, quote!(#private::assert_aligned(#private::align_of::<#name>()))));
    gaps
}

/// ```text
/// bid: f64   =>   Layout::Struct(StructLayout { .., fields: &[
///                     Field { name: "bid", layout: <f64 as Fixed>::LAYOUT, offset: __SHAPE.offsets[0] },
///                 ] })
/// ```
fn layout(item: &ItemStruct, fields: &[FieldCode<'_>], private: &Path) -> TokenStream {
    let text = item.ident.unraw().to_string();
    let doc = attrs::documentation(&item.attrs, private);
    let described = fields.iter().enumerate().map(|(at, FieldCode { text, ty, .. })| {
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
            fields: &[#(#described),*],
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
fn enum_code(item: &ItemEnum, declared: &PayloadItem, helper: &HelperArgs, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let text = item.ident.unraw().to_string();
    let doc = attrs::documentation(&item.attrs, private);
    let repr = declared.reprs().first().map(|repr| repr.path().to_token_stream().to_string()).unwrap_or_default();
    let integer = Ident::new(&repr, Span::mixed_site());
    let primitive = Ident::new(&repr.to_uppercase(), Span::mixed_site());
    let variants: Vec<TokenStream> = item.variants.iter().map(|variant| generated(&variant.ident)).collect();
    let texts = item.variants.iter().map(|variant| variant.ident.unraw().to_string());
    let copies = impl_copy(name, &TokenStream::new(), helper, private);
    let replies = impl_reply_by_reference(name, &TokenStream::new(), private);
    let size = SpanRange::of(&item.ident).located(quote_spanned! {Span::mixed_site()=>
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
