//! Names of another language as identifiers of Rust.

use std::collections::{HashMap, HashSet};

/// Words that are no identifiers.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Keywords that even `r#` does not turn into identifiers.
const NEVER_RAW: [&str; 4] = ["crate", "self", "super", "Self"];

/// A name as an identifier: keywords become `r#type`, or `self_` where that is not possible; characters that no
/// identifier has become `_`.
///
/// A trailing `_` does not count when two sides compare the names of fields, so that this changes nothing between them.
pub(super) fn identifier(name: &str) -> String {
    let mut text: String =
        name.chars().map(|letter| if letter == '_' || letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    if text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit()) {
        text.insert(0, '_');
    }
    if text == "_" {
        text.push('_');
    }
    if NEVER_RAW.contains(&text.as_str()) {
        text.push('_');
    } else if KEYWORDS.contains(&text.as_str()) {
        text.insert_str(0, "r#");
    }
    text
}

/// Identifiers that are taken in one place.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: HashSet<String>,
    /// Per name that was asked for again the number to try next: a description may ask for one name a million times.
    next: HashMap<String, u64>,
}

impl Taken {
    /// Names that are taken from the start.
    pub(super) fn with(names: &[&str]) -> Self {
        Self { all: names.iter().map(|name| (*name).to_owned()).collect(), next: HashMap::new() }
    }

    /// The identifier for a name, with a `_` or a number after it when it is taken.
    pub(super) fn claim(&mut self, name: &str) -> String {
        let identifier = identifier(name);
        if self.all.insert(identifier.clone()) {
            return identifier;
        }
        let plain = identifier.strip_prefix("r#").unwrap_or(&identifier).to_owned();
        let next = self.next.entry(plain.clone()).or_insert(1);
        loop {
            let candidate = if *next == 1 { format!("{plain}_") } else { format!("{plain}{next}") };
            *next += 1;
            if self.all.insert(candidate.clone()) {
                return candidate;
            }
        }
    }
}

/// Whether rustc would ask for another name of a field or a function.
pub(super) fn is_snake_case(identifier: &str) -> bool {
    let plain = identifier.strip_prefix("r#").unwrap_or(identifier);
    !plain.contains(|letter: char| letter.is_ascii_uppercase()) && !plain.trim_matches('_').contains("__")
}

/// Whether rustc would ask for another name of a type or a variant.
pub(super) fn is_camel_case(identifier: &str) -> bool {
    let plain = identifier.strip_prefix("r#").unwrap_or(identifier);
    plain.starts_with(|first: char| first.is_ascii_uppercase()) && !plain.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_an_identifier() {
        for (name, expected) in [
            ("price", "price"),
            ("type", "r#type"),
            ("self", "self_"),
            ("Self", "Self_"),
            ("crate", "crate_"),
            ("bid-ask", "bid_ask"),
            ("2nd", "_2nd"),
            ("", "__"),
            ("_", "__"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(identifier(name), expected);
        }
    }

    /// A search from the beginning each time would take this test an hour.
    #[test]
    fn a_name_that_is_asked_for_over_and_over_is_found_at_once() {
        let mut taken = Taken::default();
        let names: HashSet<String> = (0..200_000).map(|_| taken.claim("a")).collect();
        assert_eq!(names.len(), 200_000);
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut taken = Taken::with(&["new"]);
        assert_eq!(
            ["a", "a", "a", "new", "type", "type"].map(|name| taken.claim(name)),
            ["a", "a_", "a2", "new_", "r#type", "type_"]
        );
    }
}
