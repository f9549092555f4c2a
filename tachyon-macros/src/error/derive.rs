//! The derive that writes the code of declared errors.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{ItemEnum, LitStr, Path, Variant};

use super::text::{self, Placeholder, Said};
use crate::attrs;
use crate::helper::{HELPER, HelperArgs};
use crate::library::private;
use crate::payload::field::{FieldCode, SizeRule};
use crate::span::{SpanRange, generated};

/// Writes the code, or a stub if the helper attribute says so.
pub(crate) fn derive(item: &TokenStream) -> TokenStream {
    let read = || -> syn::Result<(ItemEnum, HelperArgs, Path)> {
        let item: ItemEnum = syn::parse2(item.clone())?;
        let helper = HelperArgs::of(&item.attrs)?;
        let library = helper.library("#[tachyon::error]")?;
        Ok((item, helper, private(&library)))
    };
    match read() {
        Err(error) => error.to_compile_error(),
        Ok((item, helper, private)) if helper.has("stub") => stub(&item, &helper, &private),
        Ok((item, helper, private)) => declared(&item, &helper, &private),
    }
}

/// ```text
/// enum ScanError { #[error("no sensor {sensor}")] NoSensor { sensor: u32 } }
/// =>
/// const _: () = {
///     const __AT0: [usize; 2] = offsets([..]);
///     impl Debug, Display and Error for ScanError
///     impl DeclaredError for ScanError {
///         const VARIANTS: &'static [ErrorLayout] = &[ErrorLayout { head: HeadLayout { name: "NoSensor", .. }, .. }];
///         fn kind(&self) -> ErrorKind { match self { Self::NoSensor { .. } => ErrorKind::HandlerFailed } }
///         fn encode(&self) -> (&'static str, Vec<u8>) { match self { Self::NoSensor { sensor } => { .. } } }
///         fn decode(name: &str, fields: &[u8]) -> Option<Result<Self, Malformed>> { match name { .. } }
///     }
/// };
/// ```
fn declared(item: &ItemEnum, helper: &HelperArgs, private: &Path) -> TokenStream {
    let name = &generated(&item.ident);
    let shared = attrs::shared(&item.attrs);
    let variants = item.variants.iter().enumerate().map(|(index, variant)| VariantCode::of(index, variant, private));
    let variants: Vec<VariantCode<'_>> = variants.collect();
    let travels =
        variants.iter().flat_map(|variant| variant.fields.iter()).filter(|field| !field.field_type.is_known());
    let travels = travels.map(|field| field.assert_travels(SizeRule::Any, &shared, private));
    let debug = (!helper.has("Debug")).then(|| debug_impl(name, &variants, private));
    let shown = variants.iter().map(VariantCode::display_arm);
    let offsets = variants.iter().map(|variant| &variant.offsets);
    let layouts = variants.iter().map(VariantCode::layout);
    let kinds = variants.iter().map(VariantCode::kind_arm);
    let encoded = variants.iter().map(VariantCode::encode_arm);
    let decoded = variants.iter().map(VariantCode::decode_arm);
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
                const VARIANTS: &'static [#private::ErrorLayout] = &[#(#layouts),*];

                fn kind(&self) -> #private::ErrorKind {
                    match self {
                        #(#kinds)*
                    }
                }

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

/// A variant, with its tokens for generated code.
struct VariantCode<'a> {
    private: &'a Path,
    variant: &'a Variant,
    name: TokenStream,
    /// The name on the wire.
    text: String,
    fields: Vec<FieldCode<'a>>,
    /// The name of the constant for the offsets of the fields.
    at: Ident,
    /// The definition of that constant: one for all uses, so that a too long head is one error.
    offsets: TokenStream,
}

impl<'a> VariantCode<'a> {
    fn of(index: usize, variant: &'a Variant, private: &'a Path) -> Self {
        let fields: Vec<FieldCode<'_>> = variant.fields.iter().filter_map(FieldCode::of).collect();
        let count = fields.len();
        let heads = fields.iter().map(|field| {
            let wire = field.wire(private);
            quote_spanned!(Span::mixed_site()=> <#wire as #private::Value>::HEAD)
        });
        let offsets = quote_spanned!(Span::mixed_site()=> #private::offsets([#(#heads),*]));
        let offsets = SpanRange::of(&variant.ident).located(offsets);
        let at = Ident::new(&format!("__AT{index}"), Span::mixed_site());
        VariantCode {
            private,
            variant,
            name: generated(&variant.ident),
            text: variant.ident.unraw().to_string(),
            fields,
            offsets: quote_spanned!(Span::mixed_site()=> const #at: [#private::usize; #count + 1] = #offsets;),
            at,
        }
    }

    fn names(&self) -> Vec<&TokenStream> {
        self.fields.iter().map(|field| &field.name).collect()
    }

    /// The names that patterns bind the fields to. Generated code has no other names of this form.
    fn bindings(&self) -> Vec<Ident> {
        self.fields.iter().enumerate().map(|(at, field)| binding(at, field)).collect()
    }

    fn wires(&self) -> Vec<TokenStream> {
        self.fields.iter().map(|field| field.wire(self.private)).collect()
    }

    /// `Self::NoSensor { sensor } => f.write_fmt(format_args!("no sensor {sensor}", sensor = sensor)),`
    fn display_arm(&self) -> TokenStream {
        let VariantCode { private, variant, name, fields, .. } = self;
        let Some(Said { text: literal, .. }) = said(variant) else { return TokenStream::new() };
        let used = shown_fields(&literal);
        let used: Vec<(usize, &FieldCode<'_>)> =
            fields.iter().enumerate().filter(|(_, field)| used.contains(&field.text)).collect();
        let names = used.iter().map(|(_, field)| &field.name);
        let bindings = used.iter().map(|(at, field)| binding(*at, field));
        let arguments = used.iter().map(|(at, field)| {
            let bound = binding(*at, field);
            // The text names a raw identifier without its `r#`.
            let argument = Ident::new(&field.text, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> #argument = #bound)
        });
        let literal = generated(&literal);
        quote_spanned! {Span::mixed_site()=>
            Self::#name { #(#names: #bindings,)* .. } => {
                #private::fmt::Formatter::write_fmt(f, #private::format_args!(#literal #(, #arguments)*))
            }
        }
    }

    /// `ErrorKind::NotFound`
    fn kind(&self) -> TokenStream {
        let private = self.private;
        let kind = said(self.variant).and_then(|said| said.kind);
        let kind = kind.unwrap_or_else(|| Ident::new("HandlerFailed", Span::mixed_site()));
        quote_spanned!(Span::mixed_site()=> #private::ErrorKind::#kind)
    }

    fn kind_arm(&self) -> TokenStream {
        let (name, kind) = (&self.name, self.kind());
        quote_spanned!(Span::mixed_site()=> Self::#name { .. } => #kind,)
    }

    fn layout(&self) -> TokenStream {
        let VariantCode { private, variant, text, fields, at, .. } = self;
        let kind = self.kind();
        let count = fields.len();
        let doc = attrs::documentation(&variant.attrs, private);
        let wires = self.wires();
        let places: Vec<usize> = (0..count).collect();
        let texts = fields.iter().map(|field| &field.text);
        quote_spanned! {Span::mixed_site()=>
            #private::ErrorLayout {
                kind: #kind,
                head: #private::HeadLayout {
                    name: #text,
                    doc: #doc,
                    len: #at[#count],
                    fields: &[#(#private::HeadField {
                        name: #texts,
                        value_type: <#wires as #private::Value>::TYPE,
                        offset: #at[#places],
                    }),*],
                },
            }
        }
    }

    fn encode_arm(&self) -> TokenStream {
        let VariantCode { private, name, text, fields, at, .. } = self;
        if fields.is_empty() {
            return quote_spanned!(Span::mixed_site()=> Self::#name { .. } => (#text, #private::Vec::new()),);
        }
        let count = fields.len();
        let (names, bound) = (self.names(), self.bindings());
        let wires = self.wires();
        let places: Vec<usize> = (0..count).collect();
        let views = fields.iter().zip(&bound).map(|(field, bound)| field.view(&quote!(#bound), private));
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

    fn decode_arm(&self) -> TokenStream {
        let VariantCode { private, name, text, fields, at, .. } = self;
        if fields.is_empty() {
            return quote_spanned! {Span::mixed_site()=>
                #text => #private::Option::Some(#private::Result::Ok(Self::#name {})),
            };
        }
        let count = fields.len();
        let members = fields.iter().enumerate().map(|(index, field)| {
            let (name, wire) = (&field.name, field.wire(private));
            let place = format!("{text}.{}", field.text);
            let view = quote_spanned! {Span::mixed_site()=>
                <#wire as #private::Value>::get(&mut head, #at[#index], scratch, #place)?
            };
            let own = field.own(&view, private);
            quote_spanned!(Span::mixed_site()=> #name: #own)
        });
        quote_spanned! {Span::mixed_site()=>
            #text => {
                #private::Option::Some(#private::declared(fields, |fields, scratch| {
                    let mut head = #private::Head::<[#private::u8; #at[#count]]>::open(fields, #text)?;
                    #private::Result::Ok(Self::#name { #(#members),* })
                }))
            }
        }
    }
}

/// Text and kind of a variant, in its helper attribute.
fn said(variant: &Variant) -> Option<Said> {
    let found = |attr: &syn::Attribute| attr.path().is_ident(HELPER).then(|| text::said(attr)).flatten();
    variant.attrs.iter().find_map(found)
}

/// The binding of a field, with the location of its type: rustc reports there that the type has no `Display`.
fn binding(at: usize, field: &FieldCode<'_>) -> Ident {
    Ident::new(&format!("field{at}"), Span::mixed_site().located_at(field.written.ty.span()))
}

/// The names of the fields in a text.
fn shown_fields(text: &LitStr) -> Vec<String> {
    let names = text::placeholders(&text.value()).into_iter().filter_map(|placeholder| match placeholder {
        Placeholder::Name(name) => Some(name),
        Placeholder::Position(_) => None,
    });
    names.collect()
}

/// `impl Debug`.
fn debug_impl(name: &TokenStream, variants: &[VariantCode<'_>], private: &Path) -> TokenStream {
    let shown = variants.iter().map(|variant| {
        let VariantCode { name, text, fields, .. } = variant;
        let (names, bound) = (variant.names(), variant.bindings());
        let texts = fields.iter().map(|field| &field.text);
        if fields.is_empty() {
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

/// The stub of an enum with a mistake: no variant, so that the uses of the enum are no further errors.
fn stub(item: &ItemEnum, helper: &HelperArgs, private: &Path) -> TokenStream {
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
    let debug = (!helper.has("Debug")).then(|| implement(quote!(#private::Debug)));
    let error = (!helper.has("conflicting")).then(|| {
        let display = implement(quote!(#private::fmt::Display));
        quote_spanned!(Span::mixed_site()=> #display impl #private::Error for #name {})
    });
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #debug
            #error

            impl #private::DeclaredError for #name {
                const VARIANTS: &'static [#private::ErrorLayout] = &[];

                fn kind(&self) -> #private::ErrorKind {
                    #private::never_compiled()
                }

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
