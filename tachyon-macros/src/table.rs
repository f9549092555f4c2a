//! `endpoints![a, b::c, ..table]`: a dispatch table.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, Path, Token};

use crate::args::split_at_commas;
use crate::library::{declared_library, private};
use crate::report::Report;
use crate::span::SpanRange;

/// An item of the list.
struct Listed {
    conditions: Vec<Attribute>,
    item: Item,
}

enum Item {
    /// An endpoint.
    Endpoint(Path),
    /// `..table`: the endpoints of another table.
    Table(Expr),
}

impl Listed {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORM: &str = "expected the path of an endpoint, such as `echo` or `orders::cancel`";
        const TABLE: &str = "expected a table behind the dots, such as `..OrdersService::endpoints::<Book>()`";
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
        let located = |tokens: &TokenStream, form| syn::Error::new_spanned(tokens, form);
        if input.parse::<Option<Token![..]>>()?.is_some() {
            let table = input.parse().map_err(|_| located(&start, TABLE))?;
            let rest: TokenStream = input.parse()?;
            if !rest.is_empty() {
                return Err(located(&rest, TABLE));
            }
            return Ok(Listed { conditions, item: Item::Table(table) });
        }
        let path = Path::parse_mod_style(input).map_err(|_| located(&start, FORM))?;
        let rest: TokenStream = input.parse()?;
        if rest.is_empty() { Ok(Listed { conditions, item: Item::Endpoint(path) }) } else { Err(located(&rest, FORM)) }
    }

    /// Reads the list. The type arguments of a table may have commas.
    fn parse_all(names: TokenStream, report: &mut Report) -> Vec<Self> {
        let pieces = split_at_commas(names);
        let mut listed = Vec::new();
        let mut rest = &pieces[..];
        while let Some((piece, behind)) = rest.split_first() {
            let read = |count: usize| {
                let pieces = &rest[..count];
                Listed::parse.parse2(quote!(#(#pieces),*))
            };
            rest = behind;
            match read(1) {
                Ok(item) => listed.push(item),
                Err(error) => {
                    let longer = (2..=behind.len() + 1).filter(|_| is_table(piece));
                    match longer.into_iter().find_map(|count| read(count).ok().map(|item| (count, item))) {
                        Some((count, item)) => {
                            rest = &behind[count - 1..];
                            listed.push(item);
                        }
                        None => report.syntax(error),
                    }
                }
            }
        }
        listed
    }
}

/// Whether a piece of the list begins with `..`, behind its attributes.
fn is_table(piece: &TokenStream) -> bool {
    let parse = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        let is_table = input.peek(Token![..]);
        input.parse::<TokenStream>()?;
        Ok(is_table)
    };
    parse.parse2(piece.clone()).unwrap_or(false)
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
/// With a table, the last lines are:
///
/// ```text
///                             let table = table.with::<a>();
/// endpoints![a, ..B]  =>      let (table, part) = table.with_all(entries(B));
///                             &table.concat::<{ total(&[1, entries(B).len()]) }>(&[&[table.entry::<a>()], part])
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
    let endpoints = Listed::parse_all(names, &mut report);
    let errors = report.finish().err();

    let (mut listed, mut asserted) = (Vec::new(), Vec::new());
    let (mut joined, mut entries) = (Vec::new(), Vec::new());
    let (mut parts, mut lengths) = (Vec::new(), Vec::new());
    // At the name: rustc reports an endpoint with a different state there.
    let table = Ident::new("table", Span::mixed_site());
    for (ordinal, Listed { conditions, item }) in endpoints.iter().enumerate() {
        let text = item.to_token_stream().to_string().replace(' ', "");
        let span = SpanRange::of(item);
        let assert = span.located(quote!(#private::assert_own_msg_type(_LISTED, #ordinal)));
        asserted.push(quote!(#(#conditions)* const _: () = #assert;));
        match item {
            Item::Endpoint(path) => {
                let number = quote!(#private::Probe::<#path>::MSG_TYPE);
                listed.push(quote!(#(#conditions)* #private::Listed::new(#ordinal, #text, #number)));
                let entry = span.located(quote!(#private::Table::entry::<#path>(#table)));
                entries.push(quote!(#(#conditions)* #entry));
                parts.push(quote!(#(#conditions)* &[#entry]));
                lengths.push(quote!(#(#conditions)* 1));
                let with = span.located(quote!(#private::Table::with::<#path>(#table)));
                joined.push(quote!(#(#conditions)* let #table = #with;));
            }
            Item::Table(other) => {
                let other = span.located(quote!(#private::entries(#other)));
                let part = format_ident!("__part_{}", ordinal, span = Span::mixed_site());
                let numbers = quote!(&#private::numbers::<_, { #other.len() }>(#other));
                listed.push(quote!(#(#conditions)* #private::Listed::table(#ordinal, #text, #numbers)));
                parts.push(quote!(#(#conditions)* #part));
                lengths.push(quote!(#(#conditions)* #other.len()));
                joined.push(quote!(#(#conditions)* let (#table, #part) = #private::Table::with_all(#table, #other);));
            }
        }
    }
    let finished = if endpoints.is_empty() {
        quote!(#private::Table::empty())
    } else {
        let all = if entries.len() == endpoints.len() {
            quote!(#private::Table::finish(#table, [#(#entries),*]))
        } else {
            quote!(#private::Table::concat::<{ #private::total(&[#(#lengths),*]) }>(#table, &[#(#parts),*]))
        };
        quote_spanned! {Span::mixed_site()=>
            const {
                let #table = &#private::Table::new();
                #(#joined)*
                &#all
            }
        }
    };
    quote_spanned! {Span::mixed_site()=>
        {
            #errors
            use #private::NotAnEndpoint as _;
            const _LISTED: &[#private::Listed] = &[#(#listed),*];
            #(#asserted)*
            #finished
        }
    }
}

impl ToTokens for Item {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Item::Endpoint(path) => path.to_tokens(tokens),
            Item::Table(table) => {
                let dots = SpanRange::of(table).located(quote!(..));
                tokens.extend(quote!(#dots #table));
            }
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
