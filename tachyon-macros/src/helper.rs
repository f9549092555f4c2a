//! The helper attribute `#[__tachyon(..)]`: an attribute macro passes its findings by it to the derive that writes the
//! code. rustc does not report deprecated items in the code of a derive. An `#[allow(deprecated)]` in generated code is
//! no alternative: under the user's `forbid` it is an error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Meta, Path, Token};

use crate::span::generated;

/// The name of the helper attribute.
pub(crate) const HELPER: &str = "__tachyon";

/// The arguments of the helper attributes of one item.
#[derive(Default)]
pub(crate) struct HelperArgs {
    library: Option<Path>,
    words: Vec<String>,
}

impl HelperArgs {
    /// Reads the helper attributes among `attrs`.
    pub(crate) fn of(attrs: &[syn::Attribute]) -> syn::Result<Self> {
        let mut helper = HelperArgs::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident(HELPER)) {
            let parse = |input: ParseStream<'_>| {
                while !input.is_empty() {
                    let word: Ident = input.parse()?;
                    if input.peek(Token![=]) {
                        input.parse::<Token![=]>()?;
                        helper.library = Some(Path::parse_mod_style(input)?);
                    }
                    helper.words.push(word.to_string());
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
        Ok(helper)
    }

    /// The path of the library.
    ///
    /// # Errors
    ///
    /// If there is none: the user wrote the derive without `attribute`.
    pub(crate) fn library(&self, attribute: &str) -> syn::Result<Path> {
        let alone = || format!("`{attribute}` adds this derive: write `{attribute}` instead");
        self.library.clone().ok_or_else(|| syn::Error::new(Span::call_site(), alone()))
    }

    /// Whether a helper attribute has this word.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }
}

/// The derives of the user that the generated code depends on: `derive(Debug, Clone)` as `__tachyon(Debug, Clone)`.
pub(crate) fn noted_derives(meta: &Meta) -> Option<TokenStream> {
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

/// The derive `Emit`: writes the code in `#[__tachyon { .. }]`.
pub(crate) fn emit(item: TokenStream) -> syn::Result<TokenStream> {
    let item: syn::DeriveInput = syn::parse2(item)?;
    let mut code = TokenStream::new();
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("__tachyon")) {
        code.extend(generated(&attr.meta.require_list()?.tokens));
    }
    Ok(code)
}
