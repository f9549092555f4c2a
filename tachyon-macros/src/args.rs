//! The arguments of the attributes. Each attribute has a closed list of names.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Path, Token};

use crate::library::{declared_library, default_library};
use crate::report::Report;

const MSG_TYPE: &str = "msg_type";
const CRATE: &str = "crate";
const EXTENSIBLE: &str = "extensible";
const CODEC: &str = "codec";

/// An attribute, which decides the permitted arguments.
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

    fn has_codec(self) -> bool {
        self.has_msg_type()
    }

    fn has_crate(self) -> bool {
        self != Attr::Method
    }

    /// The message for a name that the attribute does not have.
    fn unknown(self, name: &Ident) -> String {
        match self {
            Attr::Endpoint => {
                format!("`tachyon_rpc` has no argument `{name}`: its arguments are `msg_type`, `codec` and `crate`")
            }
            Attr::Service if name == MSG_TYPE => {
                "a service has no `msg_type`: write `#[rpc(msg_type = N)]` on each of its methods".to_owned()
            }
            Attr::Service if name == CODEC => {
                "a service has no `codec`: write `#[rpc(msg_type = N, codec = \"msgpack\")]` on its methods".to_owned()
            }
            Attr::Service => format!("`tachyon_rpc` on a trait has no argument `{name}`: its argument is `crate`"),
            Attr::Method if name == CRATE => {
                "`rpc` has no argument `crate`: write it on the trait, for all methods".to_owned()
            }
            Attr::Method => {
                format!("`rpc` has no argument `{name}`: its arguments are `msg_type` and `codec`")
            }
            Attr::Payload => format!("`payload` has no argument `{name}`: its arguments are `extensible` and `crate`"),
            Attr::Error => format!("`error` has no argument `{name}`: its argument is `crate`"),
        }
    }
}

/// The arguments as written, before the rules for their values.
pub(crate) struct Args {
    /// The value of `msg_type`; `None` if it is missing or already refused.
    pub(crate) msg_type: Option<Expr>,
    /// The path of the library in generated code: `::tachyon`, or the value of `crate`.
    pub(crate) library: Path,
    /// The word `extensible`, if written.
    pub(crate) extensible: Option<Ident>,
    /// The value of `codec`, if written.
    pub(crate) codec: Option<syn::LitStr>,
}

impl Args {
    /// Reads the list argument by argument, so that a mistake in one argument does not hide the others.
    pub(crate) fn parse(attr: Attr, tokens: TokenStream, at: Span, report: &mut Report) -> Self {
        let mut msg_type = Setting::new(MSG_TYPE);
        let mut library = Setting::new(CRATE);
        let mut extensible = Setting::new(EXTENSIBLE);
        let mut codec = Setting::new(CODEC);
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
                    // The argument may have been `msg_type`: do not report it as missing, too.
                    msg_type.mentioned = true;
                    report.syntax(error);
                    continue;
                }
            };
            if name == MSG_TYPE && attr.has_msg_type() {
                msg_type.fill(&name, syn::parse2(value), report);
            } else if name == CODEC && attr.has_codec() {
                codec.fill(&name, codec_of(&value), report);
            } else if name == CRATE && attr.has_crate() {
                let path = Path::parse_mod_style.parse2(value.clone()).map_err(|_| {
                    syn::Error::new_spanned(
                        &value,
                        "`crate` is the path of the library: write it as in `crate = my_tachyon`",
                    )
                });
                library.fill(&name, path, report);
            } else if name == EXTENSIBLE && attr == Attr::Payload {
                report.at(&value, "`extensible` takes no value: write the word alone");
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
            None => declared_library(at, report),
        };
        Args { msg_type: msg_type.value, library, extensible: extensible.value, codec: codec.value }
    }

    /// The arguments of an attribute that cannot be read, and whose mistake is already reported.
    pub(crate) fn none() -> Self {
        Args { msg_type: None, library: default_library(), extensible: None, codec: None }
    }
}

/// The codec as written: there is one.
fn codec_of(value: &TokenStream) -> syn::Result<syn::LitStr> {
    match syn::parse2::<syn::LitStr>(value.clone()) {
        Ok(codec) if codec.value() == "msgpack" => Ok(codec),
        _ => Err(syn::Error::new_spanned(
            value,
            "the one codec with a name is msgpack: write `codec = \"msgpack\"`, or leave `codec` out",
        )),
    }
}

/// Splits a list at its commas. Empty pieces stay in the list, except the piece after a trailing comma.
pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                // An empty piece becomes the comma, so that an error about it has a span.
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

/// `name = value`, with the value still unparsed.
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

/// One known argument.
struct Setting<T> {
    label: &'static str,
    mentioned: bool,
    value: Option<T>,
}

impl<T> Setting<T> {
    fn new(label: &'static str) -> Self {
        Setting { label, mentioned: false, value: None }
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
