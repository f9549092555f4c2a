//! The argument lists of the attributes, each read against a closed list of names.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Path, Token};

use crate::diag::Report;
use crate::renamed;

const MSG_TYPE: &str = "msg_type";
const CRATE: &str = "crate";
const EXTENSIBLE: &str = "extensible";

/// Whose arguments are read, and with that which ones there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attr {
    /// `#[tachyon_rpc(msg_type = N, crate = path)]` on a function.
    Endpoint,
    /// `#[tachyon_rpc(crate = path)]` on a trait.
    Service,
    /// `#[rpc(msg_type = N)]` on a method of that trait.
    Method,
    /// `#[tachyon::payload(extensible, crate = path)]`.
    Payload,
    /// `#[tachyon::error(crate = path)]`.
    Error,
}

impl Attr {
    fn has_msg_type(self) -> bool {
        matches!(self, Attr::Endpoint | Attr::Method)
    }

    fn has_crate(self) -> bool {
        self != Attr::Method
    }

    /// What to say about a name that the list does not have.
    fn unknown(self, name: &Ident) -> String {
        match self {
            Attr::Endpoint => format!("unknown argument `{name}`: `tachyon_rpc` knows `msg_type` and `crate`"),
            Attr::Service if name == MSG_TYPE => {
                "a service has no `msg_type`, its methods have: write `#[rpc(msg_type = N)]` on each".to_owned()
            }
            Attr::Service => format!("unknown argument `{name}`: `tachyon_rpc` on a trait knows `crate`"),
            Attr::Method if name == CRATE => "`crate` stands on the trait, once for all its methods".to_owned(),
            Attr::Method => format!("unknown argument `{name}`: `rpc` knows `msg_type`"),
            Attr::Payload => format!("unknown argument `{name}`: `payload` knows `extensible` and `crate`"),
            Attr::Error => format!("unknown argument `{name}`: `error` knows `crate`"),
        }
    }
}

/// What the user wrote between the parentheses, before any rule is applied to the values.
pub(crate) struct Args {
    /// The value of `msg_type`, or `None` when that argument is missing or was refused already.
    pub(crate) msg_type: Option<Expr>,
    /// The library that the generated code names: `::tachyon`, unless `crate = path` says otherwise.
    pub(crate) library: Path,
    /// The word `extensible`, if it is there.
    pub(crate) extensible: Option<Ident>,
}

impl Args {
    /// Reads the list argument by argument, so that a mistake in one leaves the others readable.
    pub(crate) fn parse(attr: Attr, tokens: TokenStream, at: Span, report: &mut Report) -> Self {
        let mut msg_type = Slot::new(MSG_TYPE);
        let mut library = Slot::new(CRATE);
        let mut extensible = Slot::new(EXTENSIBLE);
        for argument in split_at_commas(tokens) {
            if attr == Attr::Payload
                && let Ok(word) = syn::parse2::<Ident>(argument.clone())
                && word == EXTENSIBLE
            {
                extensible.fill(&word, Ok(word.clone()), report);
                continue;
            }
            let (name, value) = match Argument::parse.parse2(argument) {
                Ok(Argument { name, value }) => (name, value),
                Err(error) => {
                    // Whichever argument was meant, saying that it is missing too would only distract.
                    msg_type.mentioned = true;
                    report.syntax(error);
                    continue;
                }
            };
            if name == MSG_TYPE && attr.has_msg_type() {
                msg_type.fill(&name, syn::parse2(value), report);
            } else if name == CRATE && attr.has_crate() {
                let path = Path::parse_mod_style.parse2(value.clone()).map_err(|_| {
                    syn::Error::new_spanned(&value, "`crate` is the path of the library, such as `crate = my_tachyon`")
                });
                library.fill(&name, path, report);
            } else if name == EXTENSIBLE && attr == Attr::Payload {
                report.at(&value, "`extensible` has no value: write the word alone");
            } else {
                report.at(&name, attr.unknown(&name));
            }
        }
        if !msg_type.mentioned && attr.has_msg_type() {
            let name = if attr == Attr::Endpoint { "tachyon_rpc" } else { "rpc" };
            report.at_span(
                at,
                format!("`msg_type` is missing: write `#[{name}(msg_type = N)]` with a number from 0 to 65534"),
            );
        }
        let library = match library.value {
            Some(library) => library,
            None if library.mentioned || !attr.has_crate() => default_library(),
            None => named_library(at, report),
        };
        Args { msg_type: msg_type.value, library, extensible: extensible.value }
    }
}

impl Args {
    /// For an attribute whose arguments cannot be read at all, which has been reported.
    pub(crate) fn none() -> Self {
        Args { msg_type: None, library: default_library(), extensible: None }
    }
}

/// The path of the library where nothing is said of it, for code at `at`. Another name than its own has to be said.
pub(crate) fn named_library(at: Span, report: &mut Report) -> Path {
    let name = renamed::library().and_then(|name| syn::parse_str::<Ident>(&name).ok());
    let Some(name) = name else { return default_library() };
    report.at_span(
        at,
        format!("the Cargo.toml of this crate calls the library `{name}`: say so here, by `crate = {name}`"),
    );
    syn::parse_quote!(::#name)
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
