//! `endpoints![a, b::c]`: a dispatch table.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path, Token};

use crate::args::split_at_commas;
use crate::library::{declared_library, private};
use crate::report::Report;
use crate::span::SpanRange;

/// An endpoint of the list.
struct Listed {
    conditions: Vec<Attribute>,
    path: Path,
}

impl Listed {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORM: &str = "expected the path of an endpoint, such as `echo` or `orders::cancel`";
        let conditions = input.call(Attribute::parse_outer)?;
        for attr in &conditions {
            if !attr.path().is_ident("cfg") {
                return Err(syn::Error::new_spanned(
                    attr,
                    "an endpoint of a table has no attributes but `#[cfg(..)]`: remove this attribute",
                ));
            }
        }
        let start = input.fork().parse::<TokenStream>()?;
        let located = |tokens: &TokenStream| syn::Error::new_spanned(tokens, FORM);
        let path = Path::parse_mod_style(input).map_err(|_| located(&start))?;
        let rest: TokenStream = input.parse()?;
        if rest.is_empty() { Ok(Listed { conditions, path }) } else { Err(located(&rest)) }
    }
}

/// ```text
///                     {
///                         use ::tachyon::__private::NotAnEndpoint as _;
///                         const _LISTED: &[Listed] = &[Listed::new(0, "a", Probe::<a>::MSG_TYPE),
///                                                     Listed::new(1, "b::c", Probe::<b::c>::MSG_TYPE)];
/// endpoints![a, b::c] =>  const _: () = assert_own_msg_type(_LISTED, 0);
///                         const _: () = assert_own_msg_type(_LISTED, 1);
///                         const {
///                             let table = Table::new();
///                             let table = table.with::<a>();
///                             let table = table.with::<b::c>();
///                             &table.finish([table.entry::<a>(), table.entry::<b::c>()])
///                         }
///                     }
/// ```
///
/// Separate constants compare the numbers, so that rustc reports each duplicate, at its own name. A name that is no
/// endpoint has no number there, and the table reports it once. Names are identified by ordinal and not by index,
/// because a `#[cfg]` may remove some. Each `with` adds the state of an endpoint to the type of the table. `_LISTED`
/// begins with `_`, because an empty table does not use it, and an `allow` is an error under the user's `forbid`.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut report = Report::default();
    let (library, names) = library(tokens, &mut report);
    let library = library.unwrap_or_else(|| declared_library(Span::call_site(), &mut report));
    let private = private(&library);
    let mut endpoints = Vec::new();
    for name in split_at_commas(names) {
        match Listed::parse.parse2(name) {
            Ok(listed) => endpoints.push(listed),
            Err(error) => report.syntax(error),
        }
    }
    let errors = report.finish().err();

    let (mut listed, mut asserted) = (Vec::new(), Vec::new());
    let (mut joined, mut entries) = (Vec::new(), Vec::new());
    for (ordinal, Listed { conditions, path }) in endpoints.iter().enumerate() {
        let text = path.to_token_stream().to_string().replace(' ', "");
        listed.push(quote!(#(#conditions)* #private::Listed::new(#ordinal, #text, #private::Probe::<#path>::MSG_TYPE)));
        let assert = SpanRange::of(path).located(quote!(#private::assert_own_msg_type(_LISTED, #ordinal)));
        asserted.push(quote!(#(#conditions)* const _: () = #assert;));
        // At the name: rustc reports an endpoint with a different state there.
        let table = Ident::new("table", Span::mixed_site());
        let with = SpanRange::of(path).located(quote!(#private::Table::with::<#path>(#table)));
        joined.push(quote!(#(#conditions)* let #table = #with;));
        let entry = SpanRange::of(path).located(quote!(#private::Table::entry::<#path>(#table)));
        entries.push(quote!(#(#conditions)* #entry));
    }
    let table = if entries.is_empty() {
        quote!(#private::Table::empty())
    } else {
        quote_spanned! {Span::mixed_site()=>
            const {
                let table = &#private::Table::new();
                #(#joined)*
                &#private::Table::finish(table, [#(#entries),*])
            }
        }
    };
    quote_spanned! {Span::mixed_site()=>
        {
            #errors
            use #private::NotAnEndpoint as _;
            const _LISTED: &[#private::Listed] = &[#(#listed),*];
            #(#asserted)*
            #table
        }
    }
}

/// Splits `crate = path;` off the list.
fn library(tokens: TokenStream, report: &mut Report) -> (Option<Path>, TokenStream) {
    let is_semicolon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
    let all: Vec<TokenTree> = tokens.into_iter().collect();
    let Some(end) = all.iter().position(is_semicolon) else { return (None, all.into_iter().collect()) };
    let setting: TokenStream = all.iter().take(end).cloned().collect();
    let names = all.into_iter().skip(end + 1).collect();
    let setting_of = |input: ParseStream<'_>| {
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        Path::parse_mod_style(input)
    };
    let path = setting_of.parse2(setting.clone()).ok();
    if path.is_none() {
        report.at(setting, "expected `crate = path` before the `;`, as in `endpoints![crate = path; a, b]`");
    }
    (path, names)
}
