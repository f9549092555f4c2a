//! Stand-ins for a payload with a mistake, so that its uses are no further mistakes.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Fields, Path, Type, TypePath};

use super::derive::{Found, copies, reply_by_reference};

use super::model::Declared;
use super::spelling::{Spelled, refused};
use super::variable::{Payload, lists};
use crate::model::{last_segment, peel};
use crate::place::generated;

/// Whether there is one: of a generic type, and of one without a size, there is not.
pub(super) fn is_possible(declared: &Declared) -> bool {
    declared.generics().params.is_empty() && declared.generics().where_clause.is_none() && types(declared).all(is_sized)
}

fn types(declared: &Declared) -> impl Iterator<Item = &Type> {
    let fields: Vec<&Fields> = match declared {
        Declared::Struct(item) => vec![&item.fields],
        Declared::Enum(item) => item.variants.iter().map(|variant| &variant.fields).collect(),
    };
    fields.into_iter().flatten().map(|field| &field.ty)
}

/// Whether a type can be written down in a bound, and has a size.
fn is_sized(ty: &Type) -> bool {
    match peel(ty) {
        Type::Path(TypePath { path, .. }) => !path.is_ident("str"),
        Type::Array(array) => is_sized(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_sized),
        Type::Reference(reference) => reference.lifetime.is_some(),
        Type::Ptr(_) | Type::FnPtr(_) => true,
        _ => false,
    }
}

/// Whether a type owns memory, as far as its spelling tells: it is not `Copy`.
fn owns_memory(ty: &Type) -> bool {
    if let Type::Array(array) = peel(ty) {
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
    Spelled::of(ty).is_variable()
        || last_segment(ty).is_some_and(|segment| names.iter().any(|name| segment.ident == name))
}

/// Writes them: a fixed payload if its fields may be `Copy`, else one of which no value travels.
pub(super) fn stub(declared: &Declared, found: &Found, private: &Path) -> TokenStream {
    let name = &generated(declared.name());
    if let Declared::Struct(item) = declared
        && found.has("variable")
    {
        return variable(&Payload::of(item, private), name, private);
    }
    if types(declared).any(owns_memory) {
        return opaque(name, private);
    }
    let types = types(declared).map(generated);
    let bounds = quote_spanned!(Span::mixed_site()=> where #(for<'fixed> #types: #private::Copy),*);
    let copies = copies(name, &bounds, found, private);
    let replies = reply_by_reference(name, &bounds, private);
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
    let types = payload.item.fields.iter().map(|field| match refused(&field.ty) {
        None if Spelled::of(&field.ty).is_known() => super::variable::natural(&field.ty, private),
        _ => {
            let ty = generated(&field.ty);
            quote_spanned!(Span::mixed_site()=> &'a #ty)
        }
    });
    let mut types: Vec<TokenStream> = types.collect();
    if payload.item.fields.iter().all(|field| matches!(Spelled::of(&field.ty), Spelled::Fixed))
        && let Some(first) = types.first_mut()
    {
        // A lifetime that no field has is an error.
        *first = quote_spanned!(Span::mixed_site()=> <#first as #private::Value>::View<'a>);
    }
    let view_type = payload.view_type(&types);
    let value = value(name, &quote_spanned!(Span::mixed_site()=> #view<'a>), private);
    let uses = payload.uses();
    let by_reference = reply_by_reference(name, &TokenStream::new(), private);
    quote_spanned! {Span::mixed_site()=>
        #view_type
        const _: () = {
            #value
            #uses
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
    let by_reference = reply_by_reference(name, &TokenStream::new(), private);
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

/// `impl Value`, of a type with this view.
fn value(name: &TokenStream, view: &TokenStream, private: &Path) -> TokenStream {
    let lists = lists(name, private);
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

            #lists
        }
    }
}
