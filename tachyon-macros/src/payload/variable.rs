//! The code of a variable payload: its fields lie in a head, and what has no fixed size in parts behind it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemStruct, Path};

use super::derive::{Found, Part, Size, documentation, reply_by_reference};
use super::spelling::Spelled;
use crate::attrs;
use crate::place::{Place, generated};

/// ```text
/// pub struct Scan { pub taken_at: u64, pub points: Vec<Point> }
/// =>
/// pub struct ScanRef<'a> { pub taken_at: u64, pub points: <.. as Value>::View<'a> }
/// const _: () = {
///     type __F0 = u64;
///     type __F1 = <Select<{ IsValue::<Vec<Point>>::YES }> as Slot<Vec<Point>>>::Wire;
///     const __AT: [usize; 3] = offsets([<__F0 as Value>::HEAD, <__F1 as Value>::HEAD]);
///     const __DEPTH: usize = deeper(deepest(&[<__F0 as Value>::DEPTH, <__F1 as Value>::DEPTH]));
///     impl ScanRef<'_> { pub fn into_owned(self) -> Scan { .. } }
///     impl Value for Scan { .. }
///     ..
/// };
/// ```
pub(super) fn payload(item: &ItemStruct, found: &Found, private: &Path) -> TokenStream {
    let payload = Payload::of(item, private);
    let view_type = payload.view_type(&payload.views());
    let value = payload.value();
    let uses = payload.uses();
    let conversions = payload.conversions();
    let repeated = payload.repeated(found);
    let Payload { parts, name, shared, .. } = &payload;
    let wires = parts.iter().map(|part| part.wire(private));
    let aliases = payload.wires();
    let count = parts.len();
    let offsets = quote_spanned!(Span::mixed_site()=> #private::offsets([#(<#aliases as #private::Value>::HEAD),*]));
    let offsets = Place::of(&item.ident).take(offsets);
    let depths = quote_spanned!(Span::mixed_site()=> &[#(<#aliases as #private::Value>::DEPTH),*]);
    let depth = Place::of(&item.ident).take(quote!(#private::deeper(#private::deepest(#depths))));
    let travels = parts.iter().filter(|part| !part.spelled.is_known());
    let travels = travels.map(|part| part.travels(Size::Any, shared, private));
    let by_reference = reply_by_reference(name, &TokenStream::new(), private);
    quote_spanned! {Span::mixed_site()=>
        #view_type
        const _: () = {
            use #private::{NotDefined as _, NotFixed as _, NotValue as _};
            #(#travels)*
            #(type #aliases = #wires;)*
            const __AT: [#private::usize; #count + 1] = #offsets;
            const __DEPTH: #private::usize = #depth;
            #value
            #conversions
            #repeated
            #uses
            #by_reference
        };
    }
}

/// A variable payload as generated code names it.
pub(super) struct Payload<'a> {
    pub(super) item: &'a ItemStruct,
    private: &'a Path,
    parts: Vec<Part<'a>>,
    pub(super) name: TokenStream,
    /// The name as text.
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
            parts: item.fields.iter().filter_map(Part::of).collect(),
            name: generated(&item.ident),
            text,
            view: generated(view),
            shared: attrs::shared(&item.attrs),
        }
    }

    /// The names of these types, in the block that declares them.
    fn wires(&self) -> Vec<Ident> {
        (0..self.parts.len()).map(|at| Ident::new(&format!("__F{at}"), Span::mixed_site())).collect()
    }

    /// The types of the view's fields, natural where the spelling tells what is lent.
    ///
    /// ```text
    /// u64              =>   u64
    /// Option<String>   =>   Option<&'a str>
    /// Vec<Point>       =>   <<Select<..> as Slot<Vec<Point>>>::Wire as Value>::View<'a>
    /// ```
    fn views(&self) -> Vec<TokenStream> {
        let private = self.private;
        let lends = self.parts.iter().any(|part| lends(&part.field.ty));
        let natural = self.parts.iter().enumerate().map(|(at, part)| {
            // A lifetime that no field has is an error.
            if part.spelled.is_known() && (lends || at > 0) {
                return natural(&part.field.ty, private);
            }
            let wire = part.wire(private);
            quote_spanned!(Span::mixed_site()=> <#wire as #private::Value>::View<'a>)
        });
        natural.collect()
    }

    /// The view, with fields of these types.
    pub(super) fn view_type(&self, types: &[TokenStream]) -> TokenStream {
        let Payload { item, parts, view, text, .. } = self;
        let doc =
            format!("[`{text}`] in place: a handler receives it, and a caller may send it without an owned `{text}`.");
        let vis = generated(&item.vis);
        let deprecation = attrs::deprecation(&item.attrs);
        let non_exhaustive = attrs::non_exhaustive(&item.attrs);
        let fields = parts.iter().zip(types).map(|(part, ty)| {
            let Part { field, name, text: field_text, .. } = part;
            let vis = generated(&field.vis);
            let deprecation = attrs::deprecation(&field.attrs);
            let docs: Vec<_> = field.attrs.iter().filter(|attr| attr.path().is_ident("doc")).collect();
            let doc = if docs.is_empty() {
                let doc = format!("As `{text}::{field_text}`.");
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
                #(#fields),*
            }
        }
    }

    /// `impl Value`.
    fn value(&self) -> TokenStream {
        let Payload { item, private, parts, name, text, view, .. } = self;
        let wires = &self.wires();
        let names: Vec<_> = parts.iter().map(|part| &part.name).collect();
        let at: Vec<usize> = (0..parts.len()).collect();
        let count = parts.len();
        let doc = documentation(&item.attrs, private);
        let field_texts = parts.iter().map(|part| &part.text);
        let places = parts.iter().map(|part| format!("{text}.{}", part.text));
        let by_reference = parts.iter().map(|part| {
            let name = &part.name;
            let view = part.view(&quote_spanned!(Span::mixed_site()=> &self.#name), private);
            quote_spanned!(Span::mixed_site()=> #name: #view)
        });
        let lists = lists(name, private);
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

                #lists
            }
        }
    }

    /// From the view to the payload, and back.
    fn conversions(&self) -> TokenStream {
        let Payload { private, parts, name, text, view, .. } = self;
        let owned = parts.iter().map(|part| {
            let name = &part.name;
            let owned = part.own(&quote_spanned!(Span::mixed_site()=> self.#name), private);
            quote_spanned!(Span::mixed_site()=> #name: #owned)
        });
        let doc = format!("An owned `{text}`: a copy of every part.");
        quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #view<'_> {
                #[doc = #doc]
                pub fn into_owned(self) -> #name {
                    #name { #(#owned),* }
                }

                /// The same for a shorter time, so that fields may be replaced by local values:
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

    /// The traits of the payload that its view has, too.
    fn repeated(&self, found: &Found) -> TokenStream {
        let Payload { private, parts, view, .. } = self;
        let text = format!("{}Ref", self.text);
        let wires = self.wires();
        let names: Vec<_> = parts.iter().map(|part| &part.name).collect();
        let texts = parts.iter().map(|part| &part.text);
        let unknown: Vec<&Ident> =
            parts.iter().zip(&wires).filter(|(part, _)| !part.spelled.is_known()).map(|(_, wire)| wire).collect();
        let mut repeated = TokenStream::new();
        if found.has("Debug") {
            repeated.extend(quote_spanned! {Span::mixed_site()=>
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
        if found.has("PartialEq") {
            repeated.extend(quote_spanned! {Span::mixed_site()=>
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
        repeated
    }

    /// What endpoints and callers do with the payload and its view.
    pub(super) fn uses(&self) -> TokenStream {
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
            impl<'s> #private::Pass<'s, #name> for #view<'s> {
                #[inline]
                fn pass(self) -> #view<'s> {
                    self
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
fn lends(ty: &syn::Type) -> bool {
    match Spelled::of(ty) {
        Spelled::Option(of) => lends(of),
        Spelled::Fixed => false,
        Spelled::Text | Spelled::List(_) | Spelled::Unknown => true,
    }
}

/// What a field of a known type is lent as.
pub(super) fn natural(ty: &syn::Type, private: &Path) -> TokenStream {
    match Spelled::of(ty) {
        Spelled::Text => quote_spanned!(Span::mixed_site()=> &'a #private::str),
        Spelled::List(of) => {
            let element = generated(of);
            if matches!(Spelled::of(of), Spelled::Fixed) {
                quote_spanned!(Span::mixed_site()=> &'a [#element])
            } else {
                quote_spanned!(Span::mixed_site()=> #private::List<'a, #element>)
            }
        }
        Spelled::Option(of) => {
            let of = natural(of, private);
            quote_spanned!(Span::mixed_site()=> #private::Option<#of>)
        }
        Spelled::Fixed | Spelled::Unknown => generated(ty),
    }
}

/// The part of `impl Value` that is about several of them.
pub(super) fn lists(name: &TokenStream, private: &Path) -> TokenStream {
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
