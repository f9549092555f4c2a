//! The text of a variant, a format string with fields in braces.

use syn::{Attribute, LitStr, Meta};

/// The literal of `#[error("..")]`; `None` for other arguments.
pub(super) fn literal(attr: &Attribute) -> Option<LitStr> {
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
