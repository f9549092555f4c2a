//! The argument list of `#[tachyon_rpc(..)]`, read against a closed list of names.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Path, Token};

use crate::diag::Report;

const MSG_TYPE: &str = "msg_type";
const CRATE: &str = "crate";

/// What the user wrote between the parentheses, before any rule is applied to the values.
pub(crate) struct Args {
    /// The value of `msg_type`, or `None` when that argument is missing or was refused already.
    pub(crate) msg_type: Option<Expr>,
    /// The library that the generated code names: `::tachyon`, unless `crate = path` says otherwise.
    pub(crate) library: Path,
}

impl Args {
    /// Reads the list argument by argument, so that a mistake in one leaves the others readable.
    pub(crate) fn parse(tokens: TokenStream, report: &mut Report) -> Self {
        let mut msg_type = Slot::new(MSG_TYPE);
        let mut library = Slot::new(CRATE);
        for argument in split_at_commas(tokens) {
            let (name, value) = match Argument::parse.parse2(argument) {
                Ok(Argument { name, value }) => (name, value),
                Err(error) => {
                    // Whichever argument was meant, saying that it is missing too would only distract.
                    msg_type.mentioned = true;
                    report.syntax(error);
                    continue;
                }
            };
            if name == MSG_TYPE {
                msg_type.fill(&name, syn::parse2(value), report);
            } else if name == CRATE {
                let path = Path::parse_mod_style.parse2(value.clone()).map_err(|_| {
                    syn::Error::new_spanned(&value, "`crate` is the path of the library, such as `crate = my_tachyon`")
                });
                library.fill(&name, path, report);
            } else {
                report.at(&name, format!("unknown argument `{name}`: `tachyon_rpc` knows `msg_type` and `crate`"));
            }
        }
        if !msg_type.mentioned {
            report.at_span(
                Span::call_site(),
                "`msg_type` is missing: write `#[tachyon_rpc(msg_type = N)]` with a number from 0 to 65534",
            );
        }
        Args { msg_type: msg_type.value, library: library.value.unwrap_or_else(default_library) }
    }
}

/// The path of the library for code that does not rename it.
pub(crate) fn default_library() -> Path {
    syn::parse_quote!(::tachyon)
}

/// Cuts a list at its commas. Empty pieces are kept, except the one after a trailing comma.
pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                // The comma itself stands in for an empty piece, so that an error about it has a place to point at.
                if piece.is_empty() {
                    piece.push(token);
                }
                pieces.push(piece.drain(..).collect());
            }
            _ => piece.push(token),
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.into_iter().collect());
    }
    pieces
}

/// `name = value`, the value not looked at yet.
struct Argument {
    name: Ident,
    value: TokenStream,
}

impl Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORM: &str = "expected `name = value`, such as `msg_type = 1`";
        if !input.peek(Ident::peek_any) {
            return Err(syn::Error::new_spanned(rest(input)?, FORM));
        }
        let name = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            let rest = rest(input)?;
            return Err(syn::Error::new_spanned(quote!(#name #rest), FORM));
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() {
            return Err(syn::Error::new_spanned(&name, format!("`{name}` has no value: {FORM}")));
        }
        Ok(Argument { name, value: rest(input)? })
    }
}

fn rest(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    input.parse()
}

/// The value of one known argument.
struct Slot<T> {
    label: &'static str,
    mentioned: bool,
    value: Option<T>,
}

impl<T> Slot<T> {
    fn new(label: &'static str) -> Self {
        Slot { label, mentioned: false, value: None }
    }

    fn fill(&mut self, name: &Ident, value: syn::Result<T>, report: &mut Report) {
        if self.mentioned {
            report.at(name, format!("`{}` is given twice: keep one", self.label));
            return;
        }
        self.mentioned = true;
        match value {
            Ok(value) => self.value = Some(value),
            Err(error) => report.syntax(error),
        }
    }
}
