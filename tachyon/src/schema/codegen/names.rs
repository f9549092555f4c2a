//! Names of another language as identifiers of Rust.

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

/// Words that are not identifiers.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Keywords that stay keywords behind `r#`.
const NEVER_RAW: [&str; 4] = ["crate", "self", "super", "Self"];

/// A name as an identifier. A keyword becomes `r#type`, or `self_` where `r#` is not possible. A character that no
/// identifier has becomes `_`.
///
/// The comparison of two sides ignores a trailing `_` and the Unicode form of names, so the sides still agree.
pub(super) fn identifier(name: &str) -> String {
    let mut text: String =
        name.nfkc().map(|letter| if unicode_ident::is_xid_continue(letter) { letter } else { '_' }).collect();
    if !text.starts_with(|first: char| first == '_' || unicode_ident::is_xid_start(first)) {
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

/// Whether the macros see exactly this name in the identifier made of it.
pub(super) fn is_exact(name: &str) -> bool {
    let identifier = identifier(name);
    identifier.strip_prefix("r#").unwrap_or(&identifier) == name
}

/// Identifiers that are taken in one place.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: HashSet<String>,
    /// The next number for each repeated name: a description may have one name a million times.
    next: HashMap<String, u64>,
}

impl Taken {
    /// Names that are taken from the start.
    pub(super) fn with(names: &[&str]) -> Self {
        Self { all: names.iter().map(|name| (*name).to_owned()).collect(), next: HashMap::new() }
    }

    /// The identifier for a variable payload. The name of its view is taken with it.
    pub(super) fn claim_with_view(&mut self, name: &str) -> String {
        loop {
            let claimed = self.claim(name);
            if self.all.insert(view(&claimed)) {
                return claimed;
            }
        }
    }

    /// The identifier for a name, with a `_` or a number behind it if the name is taken.
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

/// The macro's name for the view of a payload.
pub(super) fn view(payload: &str) -> String {
    format!("{}Ref", payload.strip_prefix("r#").unwrap_or(payload))
}

/// Whether rustc accepts the name of a field or a function without a warning.
pub(super) fn is_snake_case(identifier: &str) -> bool {
    let plain = identifier.strip_prefix("r#").unwrap_or(identifier);
    plain.is_ascii()
        && !plain.contains(|letter: char| letter.is_ascii_uppercase())
        && !plain.trim_matches('_').contains("__")
}

/// Whether rustc accepts the name of a type or a variant without a warning.
pub(super) fn is_camel_case(identifier: &str) -> bool {
    let plain = identifier.strip_prefix("r#").unwrap_or(identifier);
    plain.is_ascii() && plain.starts_with(|first: char| first.is_ascii_uppercase()) && !plain.contains('_')
}

/// The name of a function as the name of a type: `no_sensor` becomes `NoSensor`.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    for word in identifier(name).trim_start_matches("r#").split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    camel
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
            ("größe", "größe"),
            ("gro\u{308}ße", "größe"),
            ("\u{b5}", "\u{3bc}"),
            ("a\u{202e}b\u{200b}", "a_b_"),
            ("\u{661}st", "_\u{661}st"),
        ] {
            assert_eq!(identifier(name), expected);
        }
    }

    #[test]
    fn functions_name_types() {
        for (name, expected) in [
            ("filter", "Filter"),
            ("find_all", "FindAll"),
            ("_x__y2", "XY2"),
            ("type", "Type"),
            ("Odd", "Odd"),
            ("_", ""),
        ] {
            assert_eq!(camel_case(name), expected);
        }
    }

    /// With a search from the beginning each time, this test would take an hour.
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
        let mut taken = Taken::default();
        assert_eq!(taken.claim("ScanRef"), "ScanRef");
        assert_eq!(taken.claim_with_view("Scan"), "Scan_");
        assert_eq!(taken.claim_with_view("Turn"), "Turn");
        assert_eq!(taken.claim("TurnRef"), "TurnRef_");
    }
}
