//! The code of a variable payload: its fields lie in a head, and values without a fixed size in parts behind the head.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemStruct, Path};

use super::field::{FieldCode, SizeRule};
use super::impls::impl_reply_by_reference;
use crate::attrs;
use crate::helper::HelperArgs;
use crate::span::{SpanRange, generated};
use crate::types::field_type::FieldType;

/// ```text
/// pub struct Scan { pub taken_at: u64, pub points: Vec<Point> }
/// =>
/// pub struct ScanRef<'a> { pub taken_at: u64, pub points: <.. as Value>::View<'a> }
/// const _: () = {
///     type __F0 = u64;
///     type __F1 = <Select<{ IsValue::<Vec<Point>>::YES }> as Slot<Vec<Point>>>::Wire;
///     const __AT: [usize; 3] = offsets([<__F0 as Value>::HEAD, <__F1 as Value>::HEAD]);
///     const __DEPTH: usize = outer_depth(max_depth(&[<__F0 as Value>::DEPTH, <__F1 as Value>::DEPTH]));
///     impl ScanRef<'_> { pub fn into_owned(self) -> Scan { .. } }
///     impl Value for Scan { .. }
///     ..
/// };
/// ```
pub(super) fn payload(item: &ItemStruct, helper: &HelperArgs, private: &Path) -> TokenStream {
    let payload = Payload::of(item, private);
    let view_struct = payload.view_struct(&payload.view_types());
    let value = payload.value();
    let endpoint_impls = payload.endpoint_impls();
    let conversions = payload.conversions();
    let derived_impls = payload.derived_impls(helper);
    let Payload { fields, name, shared, .. } = &payload;
    let wires = fields.iter().map(|field| field.wire(private));
    let aliases = payload.wire_aliases();
    let count = fields.len();
    let offsets = quote_spanned!(Span::mixed_site()=> #private::offsets([#(<#aliases as #private::Value>::HEAD),*]));
    let offsets = SpanRange::of(&item.ident).located(offsets);
    let depths = quote_spanned!(Span::mixed_site()=> &[#(<#aliases as #private::Value>::DEPTH),*]);
    let depth = SpanRange::of(&item.ident).located(quote!(#private::outer_depth(#private::max_depth(#depths))));
    let travels = fields.iter().filter(|field| !field.field_type.is_known());
    let travels = travels.map(|field| field.assert_travels(SizeRule::Any, shared, private));
    let by_reference = impl_reply_by_reference(name, &TokenStream::new(), private);
    quote_spanned! {Span::mixed_site()=>
        #view_struct
        const _: () = {
            use #private::{NotDefined as _, NotFixed as _, NotValue as _};
            #(#travels)*
            #(type #aliases = #wires;)*
            const __AT: [#private::usize; #count + 1] = #offsets;
            const __DEPTH: #private::usize = #depth;
            #value
            #conversions
            #derived_impls
            #endpoint_impls
            #by_reference
        };
    }
}

/// A variable payload, with its tokens for generated code.
pub(super) struct Payload<'a> {
    pub(super) item: &'a ItemStruct,
    private: &'a Path,
    fields: Vec<FieldCode<'a>>,
    pub(super) name: TokenStream,
    /// The name in descriptions and documentation.
    text: String,
    /// The name of the view.
    pub(super) view: TokenStream,
    shared: TokenStream,
}

impl<'a> Payload<'a> {
    pub(super) fn of(item: &'a ItemStruct, private: &'a Path) -> Self {
        let text = item.ident.unraw().to_string();
        let view = Ident::new(&format!("{text}Ref"), item.ident.span());
        Payload {
            item,
            private,
            fields: item.fields.iter().filter_map(FieldCode::of).collect(),
            name: generated(&item.ident),
            text,
            view: generated(view),
            shared: attrs::shared(&item.attrs),
        }
    }

    /// The aliases of the fields' types on the wire, in the block that declares them.
    fn wire_aliases(&self) -> Vec<Ident> {
        (0..self.fields.len()).map(|at| Ident::new(&format!("__F{at}"), Span::mixed_site())).collect()
    }

    /// The types of the view's fields, in their usual form if the syntax tells it.
    ///
    /// ```text
    /// u64              =>   u64
    /// Option<String>   =>   Option<&'a str>
    /// Vec<Point>       =>   <<Select<..> as Slot<Vec<Point>>>::Wire as Value>::View<'a>
    /// ```
    fn view_types(&self) -> Vec<TokenStream> {
        let private = self.private;
        let lends = self.fields.iter().any(|field| has_lifetime(&field.written.ty));
        let natural = self.fields.iter().enumerate().map(|(at, field)| {
            // rustc refuses a lifetime that no field has.
            if field.field_type.is_known() && (lends || at > 0) {
                return borrowed_type(&field.written.ty, private);
            }
            let wire = field.wire(private);
            quote_spanned!(Span::mixed_site()=> <#wire as #private::Value>::View<'a>)
        });
        natural.collect()
    }

    /// The definition of the view, with fields of these types.
    pub(super) fn view_struct(&self, types: &[TokenStream]) -> TokenStream {
        let Payload { item, fields, view, text, .. } = self;
        let doc = format!(
            "[`{text}`] in borrowed form: handlers receive it in place, callers send it without an owned `{text}`."
        );
        let vis = generated(&item.vis);
        let deprecation = attrs::deprecation(&item.attrs);
        let non_exhaustive = attrs::non_exhaustive(&item.attrs);
        let members = fields.iter().zip(types).map(|(field, ty)| {
            let FieldCode { written, name, text: field_text, .. } = field;
            let vis = generated(&written.vis);
            let deprecation = attrs::deprecation(&written.attrs);
            let docs: Vec<_> = written.attrs.iter().filter(|attr| attr.path().is_ident("doc")).collect();
            let doc = if docs.is_empty() {
                let doc = format!("The field `{text}::{field_text}`, borrowed.");
                quote_spanned!(Span::mixed_site()=> #[doc = #doc])
            } else {
                quote!(#(#docs)*)
            };
            quote_spanned!(Span::mixed_site()=> #doc #deprecation #vis #name: #ty)
        });
        quote_spanned! {Span::mixed_site()=>
            #[doc = #doc]
            #deprecation
            #non_exhaustive
            #vis struct #view<'a> {
                #(#members),*
            }
        }
    }

    /// `impl Value`.
    fn value(&self) -> TokenStream {
        let Payload { item, private, fields, name, text, view, .. } = self;
        let wires = &self.wire_aliases();
        let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
        let at: Vec<usize> = (0..fields.len()).collect();
        let count = fields.len();
        let doc = attrs::documentation(&item.attrs, private);
        let field_texts = fields.iter().map(|field| &field.text);
        let places = fields.iter().map(|field| format!("{text}.{}", field.text));
        let by_reference = fields.iter().map(|field| {
            let name = &field.name;
            let view = field.view(&quote_spanned!(Span::mixed_site()=> &self.#name), private);
            quote_spanned!(Span::mixed_site()=> #name: #view)
        });
        let list_methods = list_methods(name, private);
        quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #private::Value for #name {
                type View<'a> = #view<'a>;
                type List<'a> = #private::List<'a, #name>;
                const TYPE: &'static #private::ValueType = &#private::ValueType::Variable(&#private::HeadLayout {
                    name: #text,
                    doc: #doc,
                    len: __AT[#count],
                    fields: &[#(#private::HeadField {
                        name: #field_texts,
                        value_type: <#wires as #private::Value>::TYPE,
                        offset: __AT[#at],
                    }),*],
                });
                const LIST_FORM: #private::Form = #private::Form::Value(&#private::ValueType::List(Self::TYPE));
                const COPIES: #private::bool = false #(|| <#wires as #private::Value>::COPIES)*;
                const LIST_COPIES: #private::bool = true;
                const DEPTH: #private::usize = __DEPTH;

                fn read<'a>(
                    part: &'a [#private::u8],
                    scratch: &mut #private::Scratch<'a>,
                    _place: &'static #private::str,
                ) -> #private::Result<#view<'a>, #private::Malformed> {
                    let mut head = #private::Head::<[#private::u8; __AT[#count]]>::open(part, #text)?;
                    #private::Result::Ok(#view {
                        #(#names: <#wires as #private::Value>::get(&mut head, __AT[#at], scratch, #places)?),*
                    })
                }

                fn len(view: #view<'_>) -> #private::usize {
                    let end = #private::align8(__AT[#count]);
                    #(let end = <#wires as #private::Value>::grow(end, view.#names);)*
                    end
                }

                fn write(view: #view<'_>, out: &mut [#private::u8]) {
                    let mut writer = #private::Writer::new(out, __AT[#count]);
                    #(<#wires as #private::Value>::put(&mut writer, __AT[#at], view.#names);)*
                }

                fn view(&self) -> #view<'_> {
                    #view { #(#by_reference),* }
                }

                fn own(view: #view<'_>) -> Self {
                    #view::into_owned(view)
                }

                #[inline]
                fn shrink<'s, 'l: 's>(view: #view<'l>) -> #view<'s> {
                    #view { #(#names: <#wires as #private::Value>::shrink(view.#names)),* }
                }

                #list_methods
            }
        }
    }

    /// The conversions from the view to the payload, and back.
    fn conversions(&self) -> TokenStream {
        let Payload { private, fields, name, text, view, .. } = self;
        let owned = fields.iter().map(|field| {
            let name = &field.name;
            let owned = field.own(&quote_spanned!(Span::mixed_site()=> self.#name), private);
            quote_spanned!(Span::mixed_site()=> #name: #owned)
        });
        let doc = format!("Copies every field into an owned `{text}`.");
        quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #view<'_> {
                #[doc = #doc]
                pub fn into_owned(self) -> #name {
                    #name { #(#owned),* }
                }

                /// Shortens the lifetime, so that a field may be replaced by a local value:
                /// `Ref { field: &local, ..view.shorten() }`.
                #[inline]
                pub fn shorten<'s>(self) -> #view<'s>
                where
                    Self: 's,
                {
                    <#name as #private::Value>::shrink(self)
                }
            }

            #[automatically_derived]
            impl<'a> #private::From<&'a #name> for #view<'a> {
                fn from(value: &'a #name) -> Self {
                    #private::Value::view(value)
                }
            }

            #[automatically_derived]
            impl #private::Clone for #view<'_> {
                #[inline]
                fn clone(&self) -> Self {
                    *self
                }
            }

            #[automatically_derived]
            impl #private::Copy for #view<'_> {}
        }
    }

    /// The traits that the payload derives, for its view.
    fn derived_impls(&self, helper: &HelperArgs) -> TokenStream {
        let Payload { private, fields, view, .. } = self;
        let text = format!("{}Ref", self.text);
        let wires = self.wire_aliases();
        let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
        let texts = fields.iter().map(|field| &field.text);
        let unknown: Vec<&Ident> =
            fields.iter().zip(&wires).filter(|(field, _)| !field.field_type.is_known()).map(|(_, wire)| wire).collect();
        let mut impls = TokenStream::new();
        if helper.has("Debug") {
            impls.extend(quote_spanned! {Span::mixed_site()=>
                #[automatically_derived]
                impl<'a> #private::Debug for #view<'a>
                where
                    #(<#unknown as #private::Value>::View<'a>: #private::Debug,)*
                {
                    fn fmt(&self, f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                        #private::fmt::Formatter::debug_struct(f, #text)
                            #(.field(#texts, &self.#names))*
                            .finish()
                    }
                }
            });
        }
        if helper.has("PartialEq") {
            impls.extend(quote_spanned! {Span::mixed_site()=>
                #[automatically_derived]
                impl<'a> #private::PartialEq for #view<'a>
                where
                    #(<#unknown as #private::Value>::View<'a>: #private::PartialEq,)*
                {
                    fn eq(&self, other: &Self) -> #private::bool {
                        true #(&& self.#names == other.#names)*
                    }
                }
            });
        }
        impls
    }

    /// The implementations for handlers and clients: the payload and its view as argument and as reply.
    pub(super) fn endpoint_impls(&self) -> TokenStream {
        let Payload { private, name, view, .. } = self;
        quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl<'a> #private::Argument<'a> for #view<'a> {
                type Wire = #name;

                #[inline]
                fn take(view: #view<'a>) -> Self {
                    view
                }
            }

            #[automatically_derived]
            impl<'a> #private::Argument<'a> for #name {
                type Wire = #name;

                fn take(view: #view<'a>) -> Self {
                    <#name as #private::Value>::own(view)
                }
            }

            #[automatically_derived]
            impl<'s> #private::IntoView<'s, #name> for #view<'s> {
                #[inline]
                fn into_view(self) -> #view<'s> {
                    self
                }

                fn encode_item(
                    self,
                    encoding: #private::ItemEncoding<#name>,
                ) -> #private::Result<#private::Vec<#private::u8>, #private::String> {
                    encoding.encode_view(self)
                }
            }

            #[automatically_derived]
            impl #private::NoOption for #name {}

            #[automatically_derived]
            impl #private::ReplyValue for #view<'_> {
                type Message = #name;

                #[inline]
                fn view(&self) -> #view<'_> {
                    <#name as #private::Value>::shrink(*self)
                }
            }
        }
    }
}

/// Whether the view of a type has a lifetime.
fn has_lifetime(ty: &syn::Type) -> bool {
    match FieldType::of(ty) {
        FieldType::Option(of) => has_lifetime(of),
        FieldType::Fixed => false,
        FieldType::Text | FieldType::List(_) | FieldType::Tensor(_) | FieldType::Unknown => true,
    }
}

/// The borrowed form of a known type.
pub(super) fn borrowed_type(ty: &syn::Type, private: &Path) -> TokenStream {
    match FieldType::of(ty) {
        FieldType::Text => quote_spanned!(Span::mixed_site()=> &'a #private::str),
        FieldType::List(of) => {
            let element = generated(of);
            if matches!(FieldType::of(of), FieldType::Fixed) {
                quote_spanned!(Span::mixed_site()=> &'a [#element])
            } else {
                quote_spanned!(Span::mixed_site()=> #private::List<'a, #element>)
            }
        }
        FieldType::Option(of) => {
            let of = borrowed_type(of, private);
            quote_spanned!(Span::mixed_site()=> #private::Option<#of>)
        }
        FieldType::Tensor(tensor) => {
            let (of, ndim) = (generated(tensor.of), generated(tensor.ndim));
            quote_spanned!(Span::mixed_site()=> #private::TensorRef<'a, #of, #ndim>)
        }
        FieldType::Fixed | FieldType::Unknown => generated(ty),
    }
}

/// The methods of `impl Value` for lists of the payload.
pub(super) fn list_methods(name: &TokenStream, private: &Path) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        fn read_list<'a>(
            part: &'a [#private::u8],
            scratch: &mut #private::Scratch<'a>,
            place: &'static #private::str,
        ) -> #private::Result<#private::List<'a, #name>, #private::Malformed> {
            #private::read_list(part, scratch, place)
        }

        fn list_len(list: #private::List<'_, #name>) -> #private::usize {
            #private::list_len(list)
        }

        fn write_list(list: #private::List<'_, #name>, out: &mut [#private::u8]) {
            #private::write_list(list, out);
        }

        fn list(values: &[Self]) -> #private::List<'_, #name> {
            <#private::List<'_, #name> as #private::From<&[Self]>>::from(values)
        }

        fn own_list(list: #private::List<'_, #name>) -> #private::Vec<Self> {
            #private::own_list(list)
        }

        #[inline]
        fn shrink_list<'s, 'l: 's>(list: #private::List<'l, #name>) -> #private::List<'s, #name> {
            list
        }
    }
}
