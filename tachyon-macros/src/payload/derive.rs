//! The derive that writes the code of a payload, by what the attribute has found.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Field, Meta, Path, Token, Type};

use super::model::Declared;
use super::spelling::{Spelled, text};
use super::{fixed, stub, variable};
use crate::expand::private;
use crate::model::peel;
use crate::place::{Place, generated};

/// The attribute that says what to write.
pub(crate) const HELPER: &str = "__tachyon";

/// What the attribute has found.
#[derive(Default)]
pub(crate) struct Found {
    library: Option<Path>,
    words: Vec<String>,
}

impl Found {
    pub(crate) fn of(attrs: &[syn::Attribute]) -> syn::Result<Self> {
        let mut found = Found::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident(HELPER)) {
            let parse = |input: ParseStream<'_>| {
                while !input.is_empty() {
                    let word: Ident = input.parse()?;
                    if input.peek(Token![=]) {
                        input.parse::<Token![=]>()?;
                        found.library = Some(Path::parse_mod_style(input)?);
                    }
                    found.words.push(word.to_string());
                    if !input.is_empty() {
                        input.parse::<Token![,]>()?;
                    }
                }
                Ok(())
            };
            if let Meta::List(list) = &attr.meta {
                parse.parse2(list.tokens.clone())?;
            }
        }
        Ok(found)
    }

    /// The library that generated code names.
    ///
    /// # Errors
    ///
    /// When the attribute did not say: the derive stands alone.
    pub(crate) fn library(&self, attribute: &str) -> syn::Result<Path> {
        let alone = || format!("this derive is a part of `{attribute}`: write that instead");
        self.library.clone().ok_or_else(|| syn::Error::new(Span::call_site(), alone()))
    }

    /// Whether the attribute said this word.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|said| said == word)
    }
}

/// Which of the traits that matter here the user derives: `derive(Debug, Clone)` as `__tachyon(Debug, Clone)`.
pub(crate) fn seen(meta: &Meta) -> Option<TokenStream> {
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("derive") {
        return None;
    }
    let paths = syn::punctuated::Punctuated::<Path, Token![,]>::parse_terminated.parse2(list.tokens.clone()).ok()?;
    let names = paths.iter().filter_map(|path| path.segments.last()).map(|last| &last.ident);
    let names: Vec<&Ident> =
        names.filter(|name| ["Clone", "Copy", "Debug", "PartialEq"].iter().any(|known| name == known)).collect();
    let helper = Ident::new(HELPER, Span::mixed_site());
    (!names.is_empty()).then(|| quote!(#helper(#(#names),*)))
}

/// Writes the code.
pub(crate) fn derive(item: &TokenStream) -> TokenStream {
    let read = || -> syn::Result<(Declared, Found, Path)> {
        let declared = Declared::parse(item)?;
        let found = Found::of(declared.attrs())?;
        let library = found.library("#[tachyon::payload]")?;
        Ok((declared, found, private(&library)))
    };
    match read() {
        Err(error) => error.to_compile_error(),
        Ok((declared, found, private)) if found.has("stub") => stub::stub(&declared, &found, &private),
        Ok((Declared::Struct(item), found, private)) if found.has("variable") => {
            variable::payload(&item, &found, &private)
        }
        Ok((declared, found, private)) => fixed::payload(&declared, &found, &private),
    }
}

/// A field as generated code names it.
pub(crate) struct Part<'a> {
    pub(crate) field: &'a Field,
    /// Its name.
    pub(crate) name: TokenStream,
    /// Its name in descriptions and messages.
    pub(crate) text: String,
    pub(crate) ty: TokenStream,
    pub(crate) spelled: Spelled<'a>,
}

impl<'a> Part<'a> {
    pub(crate) fn of(field: &'a Field) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        Some(Part {
            field,
            name: generated(ident),
            text: ident.unraw().to_string(),
            ty: generated(&field.ty),
            spelled: Spelled::of(&field.ty),
        })
    }

    /// What travels for a field: its type, or a stand-in for one that cannot.
    ///
    /// ```text
    /// Vec<Point>   =>   <Select<{ IsValue::<Vec<Point>>::YES }> as Slot<Vec<Point>>>::Wire
    /// ```
    pub(crate) fn wire(&self, private: &Path) -> TokenStream {
        if self.spelled.is_known() {
            return self.ty.clone();
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::Wire)
    }

    /// The view of a field that `reference` borrows.
    pub(crate) fn view(&self, reference: &TokenStream, private: &Path) -> TokenStream {
        let ty = &self.ty;
        if self.spelled.is_known() {
            return quote_spanned!(Span::mixed_site()=> <#ty as #private::Value>::view(#reference));
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::view(#reference))
    }

    /// The field of a view.
    pub(crate) fn own(&self, view: &TokenStream, private: &Path) -> TokenStream {
        let ty = &self.ty;
        if self.spelled.is_known() {
            return quote_spanned!(Span::mixed_site()=> <#ty as #private::Value>::own(#view));
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::own(#view))
    }

    /// `<Select<..> as Slot<T>>`.
    fn slot(&self, private: &Path) -> TokenStream {
        let ty = &self.ty;
        quote_spanned! {Span::mixed_site()=>
            <#private::Select<{ use #private::NotValue as _; #private::IsValue::<#ty>::YES }> as #private::Slot<#ty>>
        }
    }

    /// The one place where a type that does not travel is an error, and one without a fixed size where it has to have
    /// one.
    ///
    /// ```text
    /// points: Vec<Point>   =>   const _: fn() = travels::<<Select<{ IsDefined::<Point>::YES }> as Asked<Point>>::Type>;
    /// points: [Point; 2]   =>   const _: fn() = travels::<..>;
    ///                           const _: () = assert_fixed_element(IsValue::<Point>::YES, IsFixed::<Point>::YES, "Point");
    /// ```
    pub(crate) fn travels(&self, size: Size, shared: &TokenStream, private: &Path) -> TokenStream {
        let (ty, size) = innermost(&self.field.ty, size);
        let own = crate::attrs::shared(&self.field.attrs);
        let place = Place::of(ty);
        let written = generated(ty);
        let asked = place.stand_in(quote_spanned! {Span::mixed_site()=>
            <#private::Select<{ #private::IsDefined::<#written>::YES }> as #private::Asked<#written>>::Type
        });
        let travels = quote_spanned! {Span::mixed_site()=>
            #shared #own const _: fn() = #private::travels::<#asked>;
        };
        let assert = match size {
            Size::Any => return travels,
            Size::Fixed => quote!(assert_fixed),
            Size::Element => quote!(assert_fixed_element),
        };
        let (text, ty) = (text(ty), written);
        let assert = place.take(quote_spanned! {Span::mixed_site()=>
            #private::#assert(#private::IsValue::<#ty>::YES, #private::IsFixed::<#ty>::YES, #text)
        });
        quote_spanned!(Span::mixed_site()=> #travels const _: () = #assert;)
    }
}

/// What is asked of the size of a field's type.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    Any,
    /// The same for each value: the payload is fixed.
    Fixed,
    /// The same for each value: the type is that of an array's elements.
    Element,
}

/// The type of which a list, an option or an array consists: where a mistake is.
fn innermost(ty: &Type, size: Size) -> (&Type, Size) {
    match (Spelled::of(ty), peel(ty)) {
        (Spelled::List(of) | Spelled::Option(of), _) => innermost(of, size),
        (Spelled::Unknown, Type::Array(array)) => innermost(&array.elem, Size::Element),
        _ => (ty, size),
    }
}

/// `impl Clone` and `impl Copy` of a fixed payload, but for those that the user derives.
///
/// ```text
/// struct Order { side: Side }   =>   impl Clone for Order where for<'fixed> Side: Fixed { .. }
/// ```
pub(crate) fn copies(name: &TokenStream, bounds: &TokenStream, found: &Found, private: &Path) -> TokenStream {
    let mut copies = TokenStream::new();
    if !found.has("Clone") {
        copies.extend(quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #private::Clone for #name #bounds {
                #[inline]
                fn clone(&self) -> Self {
                    *self
                }
            }
        });
    }
    if !found.has("Copy") {
        copies.extend(quote_spanned! {Span::mixed_site()=>
            #[automatically_derived]
            impl #private::Copy for #name #bounds {}
        });
    }
    copies
}

/// What an endpoint may do with a reference to a payload.
pub(crate) fn reply_by_reference(name: &TokenStream, bounds: &TokenStream, private: &Path) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl #private::ReplyValue for &#name #bounds {
            type Message = #name;

            #[inline]
            fn view(&self) -> <#name as #private::Value>::View<'_> {
                #private::Value::view(*self)
            }

            #[inline]
            fn bytes(&self) -> #private::Option<&[#private::u8]> {
                #private::Value::bytes(*self)
            }
        }
    }
}

/// The doc comment as a constant.
pub(crate) fn documentation(declared: &[syn::Attribute], private: &Path) -> TokenStream {
    crate::attrs::documentation(declared, private).into_token_stream()
}
