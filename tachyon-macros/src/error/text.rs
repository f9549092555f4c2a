//! The text of a variant, a format string with fields in braces, and the kind behind the text.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, LitStr, Meta, Token};

/// The kinds that a declared error can have: `ErrorKind` has them in the order of their numbers.
pub(super) const KINDS: [&str; 10] = [
    "HandlerFailed",
    "InvalidArgument",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "Unavailable",
    "Unauthenticated",
];

/// The arguments of `#[error("..", kind = NotFound)]`.
pub(super) struct Said {
    pub(super) text: LitStr,
    pub(super) kind: Option<Ident>,
    /// The rest, which is a mistake.
    pub(super) rest: TokenStream,
}

impl Parse for Said {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let text = input.parse()?;
        let mut kind = None;
        let mut rest = TokenStream::new();
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            let ahead = input.fork();
            if let Ok(found) = kind_argument(&ahead) {
                kind_argument(input)?;
                kind = Some(found);
                if input.peek(Token![,]) {
                    input.parse::<Token![,]>()?;
                }
            }
            rest = input.parse()?;
        }
        Ok(Self { text, kind, rest })
    }
}

/// `kind = NotFound`.
fn kind_argument(input: ParseStream<'_>) -> syn::Result<Ident> {
    let name: Ident = input.parse()?;
    if name != "kind" {
        return Err(syn::Error::new_spanned(name, "no kind"));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// The arguments of an `error` attribute that begins with a literal; `None` for other arguments.
pub(super) fn said(attr: &Attribute) -> Option<Said> {
    let Meta::List(list) = &attr.meta else { return None };
    syn::parse2(list.tokens.clone()).ok()
}

/// An argument of a format string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// By name.
    Name(String),
    /// By position: a number, or nothing.
    Position(String),
}

/// The arguments of a format string, in order, also those of widths and precisions: `{sensor:>width$}` has two. The
/// compiler reports malformed format strings.
pub(super) fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let brace = &rest[at..];
        if brace.starts_with("{{") || brace.starts_with("}}") {
            rest = &brace[2..];
            continue;
        }
        let Some(end) = brace.find('}').filter(|_| brace.starts_with('{')) else { return found };
        let (argument, spec) = brace[1..end].split_once(':').unwrap_or((&brace[1..end], ""));
        found.push(placeholder(argument.trim()));
        for piece in spec.split_inclusive('$').filter_map(|piece| piece.strip_suffix('$')) {
            let begin = piece
                .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
                .map_or(0, |at| at + piece[at..].chars().next().map_or(1, char::len_utf8));
            found.push(placeholder(piece[begin..].trim_start_matches(|c: char| c == '0' && piece[begin..].len() > 1)));
        }
        rest = &brace[end + 1..];
    }
    found
}

fn placeholder(argument: &str) -> Placeholder {
    if argument.chars().all(|c| c.is_ascii_digit()) {
        Placeholder::Position(argument.to_owned())
    } else {
        Placeholder::Name(argument.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_a_format_string_has_them() {
        let name = |text: &str| Placeholder::Name(text.to_owned());
        for (text, expected) in [
            ("busy", vec![]),
            ("{{sensor}}", vec![]),
            ("no {sensor}, {{}} {state:?}", vec![name("sensor"), name("state")]),
            ("{a:>5} {b:#x} { c }", vec![name("a"), name("b"), name("c")]),
            ("{a:ä>width$.precision$}", vec![name("a"), name("width"), name("precision")]),
            ("{a:0width$}", vec![name("a"), name("width")]),
            ("{} {0} {a", vec![Placeholder::Position(String::new()), Placeholder::Position("0".into())]),
            ("} {a}", vec![]),
        ] {
            assert_eq!(placeholders(text), expected, "{text}");
        }
    }
}
