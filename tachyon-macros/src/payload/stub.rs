//! The stub of a payload with a mistake, so that the uses of the payload are no further errors.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Fields, Path, Type, TypePath};

use super::impls::{impl_copy, impl_reply_by_reference};
use super::model::PayloadItem;
use super::variable::{Payload, list_methods};
use crate::helper::HelperArgs;
use crate::span::generated;
use crate::types::advice::field_advice;
use crate::types::field_type::FieldType;
use crate::types::{last_segment, ungroup};

/// Whether a stub is possible: not for a generic type, and not for a type without a size.
pub(super) fn is_possible(declared: &PayloadItem) -> bool {
    declared.generics().params.is_empty() && declared.generics().where_clause.is_none() && types(declared).all(is_sized)
}

fn types(declared: &PayloadItem) -> impl Iterator<Item = &Type> {
    let fields: Vec<&Fields> = match declared {
        PayloadItem::Struct(item) => vec![&item.fields],
        PayloadItem::Enum(item) => item.variants.iter().map(|variant| &variant.fields).collect(),
    };
    fields.into_iter().flatten().map(|field| &field.ty)
}

/// Whether a type is valid in a bound, and has a size.
fn is_sized(ty: &Type) -> bool {
    match ungroup(ty) {
        Type::Path(TypePath { path, .. }) => !path.is_ident("str"),
        Type::Array(array) => is_sized(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_sized),
        Type::Reference(reference) => reference.lifetime.is_some(),
        Type::Ptr(_) | Type::FnPtr(_) => true,
        _ => false,
    }
}

/// Whether a type owns memory and with that is not `Copy`, as far as its syntax tells.
fn owns_memory(ty: &Type) -> bool {
    if let Type::Array(array) = ungroup(ty) {
        return owns_memory(&array.elem);
    }
    let names = [
        "HashMap",
        "BTreeMap",
        "VecDeque",
        "HashSet",
        "BTreeSet",
        "LinkedList",
        "BinaryHeap",
        "Box",
        "Rc",
        "Arc",
        "Cow",
        "Cell",
        "RefCell",
        "Mutex",
        "RwLock",
        "OsString",
        "PathBuf",
        "CString",
        "Result",
    ];
    FieldType::of(ty).is_variable()
        || last_segment(ty).is_some_and(|segment| names.iter().any(|name| segment.ident == name))
}

/// Writes the stub: a fixed payload if its fields may be `Copy`, else a type without values on the wire.
pub(super) fn stub(declared: &PayloadItem, helper: &HelperArgs, private: &Path) -> TokenStream {
    let name = &generated(declared.name());
    if let PayloadItem::Struct(item) = declared
        && helper.has("variable")
    {
        return variable(&Payload::of(item, private), name, private);
    }
    if types(declared).any(owns_memory) {
        return opaque(name, private);
    }
    let types = types(declared).map(generated);
    let bounds = quote_spanned!(Span::mixed_site()=> where #(for<'fixed> #types: #private::Copy),*);
    let copies = impl_copy(name, &bounds, helper, private);
    let replies = impl_reply_by_reference(name, &bounds, private);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #copies
            #[automatically_derived]
            unsafe impl #private::Fixed for #name #bounds {
                const LAYOUT: &'static #private::Layout = <#private::u8 as #private::Fixed>::LAYOUT;

                fn is_valid(_bytes: &[#private::u8]) -> #private::bool {
                    #private::never_compiled()
                }
            }
            #replies
        };
    }
}

fn variable(payload: &Payload<'_>, name: &TokenStream, private: &Path) -> TokenStream {
    let view = &payload.view;
    let types = payload.item.fields.iter().map(|field| match field_advice(&field.ty) {
        None if FieldType::of(&field.ty).is_known() => super::variable::borrowed_type(&field.ty, private),
        _ => {
            let ty = generated(&field.ty);
            quote_spanned!(Span::mixed_site()=> &'a #ty)
        }
    });
    let mut types: Vec<TokenStream> = types.collect();
    if payload.item.fields.iter().all(|field| matches!(FieldType::of(&field.ty), FieldType::Fixed))
        && let Some(first) = types.first_mut()
    {
        // rustc refuses a lifetime that no field has.
        *first = quote_spanned!(Span::mixed_site()=> <#first as #private::Value>::View<'a>);
    }
    let view_struct = payload.view_struct(&types);
    let value = value(name, &quote_spanned!(Span::mixed_site()=> #view<'a>), private);
    let endpoint_impls = payload.endpoint_impls();
    let by_reference = impl_reply_by_reference(name, &TokenStream::new(), private);
    quote_spanned! {Span::mixed_site()=>
        #view_struct
        const _: () = {
            #value
            #endpoint_impls
            #by_reference
            impl #private::Clone for #view<'_> {
                fn clone(&self) -> Self {
                    *self
                }
            }
            impl #private::Copy for #view<'_> {}
            impl #view<'_> {
                pub fn into_owned(self) -> #name {
                    #private::never_compiled()
                }
            }
            impl<'a> #private::From<&'a #name> for #view<'a> {
                fn from(_value: &'a #name) -> Self {
                    #private::never_compiled()
                }
            }
        };
    }
}

fn opaque(name: &TokenStream, private: &Path) -> TokenStream {
    let value = value(name, &quote!(()), private);
    let by_reference = impl_reply_by_reference(name, &TokenStream::new(), private);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #value
            #by_reference
            impl<'a> #private::Argument<'a> for #name {
                type Wire = #name;

                fn take(_view: ()) -> Self {
                    #private::never_compiled()
                }
            }
        };
    }
}

/// `impl Value` for a type with this view.
fn value(name: &TokenStream, view: &TokenStream, private: &Path) -> TokenStream {
    let list_methods = list_methods(name, private);
    quote_spanned! {Span::mixed_site()=>
        impl #private::Value for #name {
            type View<'a> = #view;
            type List<'a> = #private::List<'a, #name>;
            const TYPE: &'static #private::ValueType = &#private::ValueType::Text;
            const LIST_FORM: #private::Form = #private::Form::Bytes;
            const COPIES: #private::bool = false;
            const LIST_COPIES: #private::bool = false;
            const DEPTH: #private::usize = 1;

            fn read<'a>(
                _part: &'a [#private::u8],
                _scratch: &mut #private::Scratch<'a>,
                _place: &'static #private::str,
            ) -> #private::Result<Self::View<'a>, #private::Malformed> {
                #private::never_compiled()
            }

            fn len(_view: Self::View<'_>) -> #private::usize {
                #private::never_compiled()
            }

            fn write(_view: Self::View<'_>, _out: &mut [#private::u8]) {
                #private::never_compiled()
            }

            fn view(&self) -> Self::View<'_> {
                #private::never_compiled()
            }

            fn own(_view: Self::View<'_>) -> Self {
                #private::never_compiled()
            }

            fn shrink<'s, 'l: 's>(_view: Self::View<'l>) -> Self::View<'s> {
                #private::never_compiled()
            }

            #list_methods
        }
    }
}
