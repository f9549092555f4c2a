//! The derive that writes the code of declared errors.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{ItemEnum, LitStr, Path, Variant};

use super::text::{self, Braced};
use crate::attrs;
use crate::expand::private;
use crate::payload::derive::{Found, HELPER, Part, Size, documentation};
use crate::place::{Place, generated};

/// Writes the code.
pub(crate) fn derive(item: &TokenStream) -> TokenStream {
    let read = || -> syn::Result<(ItemEnum, Found, Path)> {
        let item: ItemEnum = syn::parse2(item.clone())?;
        let found = Found::of(&item.attrs)?;
        let library = found.library("#[tachyon::error]")?;
        Ok((item, found, private(&library)))
    };
    match read() {
        Err(error) => error.to_compile_error(),
        Ok((item, found, private)) if found.has("stub") => stub(&item, &found, &private),
        Ok((item, found, private)) => declared(&item, &found, &private),
    }
}

/// ```text
/// enum ScanError { #[error("no sensor {sensor}")] NoSensor { sensor: u32 } }
/// =>
/// const _: () = {
///     const __AT0: [usize; 2] = offsets([..]);
///     impl Debug, Display and Error for ScanError
///     impl DeclaredError for ScanError {
///         const VARIANTS: &'static [HeadLayout] = &[HeadLayout { name: "NoSensor", .. }];
///         fn encode(&self) -> (&'static str, Vec<u8>) { match self { Self::NoSensor { sensor } => { .. } } }
///         fn decode(name: &str, fields: &[u8]) -> Option<Result<Self, Malformed>> { match name { "NoSensor" => { .. } } }
///     }
/// };
/// ```
fn declared(item: &ItemEnum, found: &Found, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let shared = attrs::shared(&item.attrs);
    let variants = item.variants.iter().enumerate().map(|(place, variant)| Declared::of(place, variant, private));
    let variants: Vec<Declared<'_>> = variants.collect();
    let travels = variants.iter().flat_map(|variant| variant.parts.iter()).filter(|part| !part.spelled.is_known());
    let travels = travels.map(|part| part.travels(Size::Any, &shared, private));
    let debug = (!found.has("Debug")).then(|| debug(name, &variants, private));
    let shown = variants.iter().map(Declared::shown);
    let offsets = variants.iter().map(|variant| &variant.offsets);
    let layouts = variants.iter().map(Declared::layout);
    let encoded = variants.iter().map(Declared::encoded);
    let decoded = variants.iter().map(Declared::decoded);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            use #private::{NotDefined as _, NotFixed as _, NotValue as _};
            #(#travels)*
            #(#offsets)*
            #debug

            #[automatically_derived]
            impl #private::fmt::Display for #name {
                fn fmt(&self, f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                    match self {
                        #(#shown)*
                    }
                }
            }

            #[automatically_derived]
            impl #private::Error for #name {}

            #[automatically_derived]
            impl #private::DeclaredError for #name {
                const VARIANTS: &'static [#private::HeadLayout] = &[#(#layouts),*];

                fn encode(&self) -> (&'static #private::str, #private::Vec<#private::u8>) {
                    match self {
                        #(#encoded)*
                    }
                }

                fn decode(
                    name: &#private::str,
                    fields: &[#private::u8],
                ) -> #private::Option<#private::Result<Self, #private::Malformed>> {
                    match name {
                        #(#decoded)*
                        _ => #private::Option::None,
                    }
                }
            }
        };
    }
}

/// A variant as generated code names it.
struct Declared<'a> {
    private: &'a Path,
    variant: &'a Variant,
    name: TokenStream,
    /// Its name on the wire.
    text: String,
    parts: Vec<Part<'a>>,
    /// The name of the constant of its fields' offsets.
    at: Ident,
    /// That constant: one for all uses, so that a head that is too long is one error.
    offsets: TokenStream,
}

impl<'a> Declared<'a> {
    fn of(place: usize, variant: &'a Variant, private: &'a Path) -> Self {
        let parts: Vec<Part<'_>> = variant.fields.iter().filter_map(Part::of).collect();
        let count = parts.len();
        let heads = parts.iter().map(|part| {
            let wire = part.wire(private);
            quote_spanned!(Span::mixed_site()=> <#wire as #private::Value>::HEAD)
        });
        let offsets = quote_spanned!(Span::mixed_site()=> #private::offsets([#(#heads),*]));
        let offsets = Place::of(&variant.ident).take(offsets);
        let at = Ident::new(&format!("__AT{place}"), Span::mixed_site());
        Declared {
            private,
            variant,
            name: generated(&variant.ident),
            text: variant.ident.unraw().to_string(),
            parts,
            offsets: quote_spanned!(Span::mixed_site()=> const #at: [#private::usize; #count + 1] = #offsets;),
            at,
        }
    }

    fn names(&self) -> Vec<&TokenStream> {
        self.parts.iter().map(|part| &part.name).collect()
    }

    /// What patterns bind the fields to: no name that the code has another use for.
    fn bound(&self) -> Vec<Ident> {
        self.parts.iter().enumerate().map(|(at, part)| bound(at, part)).collect()
    }

    fn wires(&self) -> Vec<TokenStream> {
        self.parts.iter().map(|part| part.wire(self.private)).collect()
    }

    /// `Self::NoSensor { sensor } => f.write_fmt(format_args!("no sensor {sensor}", sensor = sensor)),`
    fn shown(&self) -> TokenStream {
        let Declared { private, variant, name, parts, .. } = self;
        let literal = |attr: &syn::Attribute| attr.path().is_ident(HELPER).then(|| text::of(attr)).flatten();
        let Some(literal) = variant.attrs.iter().find_map(literal) else { return TokenStream::new() };
        let used = used(&literal);
        let used: Vec<(usize, &Part<'_>)> =
            parts.iter().enumerate().filter(|(_, part)| used.contains(&part.text)).collect();
        let names = used.iter().map(|(_, part)| &part.name);
        let bindings = used.iter().map(|(at, part)| bound(*at, part));
        let arguments = used.iter().map(|(at, part)| {
            let bound = bound(*at, part);
            // Without its `r#`: that is how the text names it.
            let argument = Ident::new(&part.text, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> #argument = #bound)
        });
        let literal = generated(&literal);
        quote_spanned! {Span::mixed_site()=>
            Self::#name { #(#names: #bindings,)* .. } => {
                #private::fmt::Formatter::write_fmt(f, #private::format_args!(#literal #(, #arguments)*))
            }
        }
    }

    fn layout(&self) -> TokenStream {
        let Declared { private, variant, text, parts, at, .. } = self;
        let count = parts.len();
        let doc = documentation(&variant.attrs, private);
        let wires = self.wires();
        let places: Vec<usize> = (0..count).collect();
        let texts = parts.iter().map(|part| &part.text);
        quote_spanned! {Span::mixed_site()=>
            {
                #private::HeadLayout {
                    name: #text,
                    doc: #doc,
                    len: #at[#count],
                    fields: &[#(#private::HeadField {
                        name: #texts,
                        value_type: <#wires as #private::Value>::TYPE,
                        offset: #at[#places],
                    }),*],
                }
            }
        }
    }

    fn encoded(&self) -> TokenStream {
        let Declared { private, name, text, parts, at, .. } = self;
        if parts.is_empty() {
            return quote_spanned!(Span::mixed_site()=> Self::#name { .. } => (#text, #private::Vec::new()),);
        }
        let count = parts.len();
        let (names, bound) = (self.names(), self.bound());
        let wires = self.wires();
        let places: Vec<usize> = (0..count).collect();
        let views = parts.iter().zip(&bound).map(|(part, bound)| part.view(&quote!(#bound), private));
        quote_spanned! {Span::mixed_site()=>
            Self::#name { #(#names: #bound),* } => {
                #(let #bound = #views;)*
                let end = #private::align8(#at[#count]);
                #(let end = <#wires as #private::Value>::grow(end, #bound);)*
                let mut head = #private::zeros(end);
                let mut writer = #private::Writer::new(&mut head, #at[#count]);
                #(<#wires as #private::Value>::put(&mut writer, #at[#places], #bound);)*
                (#text, head)
            }
        }
    }

    fn decoded(&self) -> TokenStream {
        let Declared { private, name, text, parts, at, .. } = self;
        if parts.is_empty() {
            return quote_spanned! {Span::mixed_site()=>
                #text => #private::Option::Some(#private::Result::Ok(Self::#name {})),
            };
        }
        let count = parts.len();
        let fields = parts.iter().enumerate().map(|(index, part)| {
            let (name, wire) = (&part.name, part.wire(private));
            let place = format!("{text}.{}", part.text);
            let view = quote_spanned! {Span::mixed_site()=>
                <#wire as #private::Value>::get(&mut head, #at[#index], scratch, #place)?
            };
            let own = part.own(&view, private);
            quote_spanned!(Span::mixed_site()=> #name: #own)
        });
        quote_spanned! {Span::mixed_site()=>
            #text => {
                #private::Option::Some(#private::declared(fields, |fields, scratch| {
                    let mut head = #private::Head::<[#private::u8; #at[#count]]>::open(fields, #text)?;
                    #private::Result::Ok(Self::#name { #(#fields),* })
                }))
            }
        }
    }
}

/// The name of the field at this place, where its type stands: of that is what rustc finds wrong with it.
fn bound(at: usize, part: &Part<'_>) -> Ident {
    Ident::new(&format!("field{at}"), Span::mixed_site().located_at(part.field.ty.span()))
}

/// The fields that a text shows.
fn used(text: &LitStr) -> Vec<String> {
    let names = text::braced(&text.value()).into_iter().filter_map(|braced| match braced {
        Braced::Name(name) => Some(name),
        Braced::Place(_) => None,
    });
    names.collect()
}

/// `impl Debug`, which every error has.
fn debug(name: &TokenStream, variants: &[Declared<'_>], private: &Path) -> TokenStream {
    let shown = variants.iter().map(|variant| {
        let Declared { name, text, parts, .. } = variant;
        let (names, bound) = (variant.names(), variant.bound());
        let texts = parts.iter().map(|part| &part.text);
        if parts.is_empty() {
            return quote_spanned! {Span::mixed_site()=>
                Self::#name { .. } => #private::fmt::Formatter::write_str(f, #text),
            };
        }
        quote_spanned! {Span::mixed_site()=>
            Self::#name { #(#names: #bound),* } => {
                #private::fmt::Formatter::debug_struct(f, #text)#(.field(#texts, #bound))*.finish()
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl #private::Debug for #name {
            fn fmt(&self, f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                match self {
                    #(#shown)*
                }
            }
        }
    }
}

/// Declared errors without a variant, so that the uses of an enum with a mistake are no further mistakes.
fn stub(item: &ItemEnum, found: &Found, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let implement = |what: TokenStream| {
        quote_spanned! {Span::mixed_site()=>
            impl #what for #name {
                fn fmt(&self, _f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                    #private::never_compiled()
                }
            }
        }
    };
    let debug = (!found.has("Debug")).then(|| implement(quote!(#private::Debug)));
    let error = (!found.has("foreign")).then(|| {
        let display = implement(quote!(#private::fmt::Display));
        quote_spanned!(Span::mixed_site()=> #display impl #private::Error for #name {})
    });
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #debug
            #error

            impl #private::DeclaredError for #name {
                const VARIANTS: &'static [#private::HeadLayout] = &[];

                fn encode(&self) -> (&'static #private::str, #private::Vec<#private::u8>) {
                    #private::never_compiled()
                }

                fn decode(
                    _name: &#private::str,
                    _fields: &[#private::u8],
                ) -> #private::Option<#private::Result<Self, #private::Malformed>> {
                    #private::never_compiled()
                }
            }
        };
    }
}
