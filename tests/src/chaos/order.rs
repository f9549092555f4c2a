//! Orders to an actor, and its answers: a word, then `key=value` pairs, on one line.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

/// A line between the driver and an actor.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The role of an order, or the outcome of an answer.
    pub word: String,
    pairs: BTreeMap<String, String>,
}

impl Order {
    /// An order without pairs.
    pub fn new(word: &str) -> Self {
        Self { word: word.to_owned(), pairs: BTreeMap::new() }
    }

    /// Adds a pair.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.pairs.insert(key.to_owned(), value.to_string());
        self
    }

    /// Reads a line.
    pub fn read(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut order = Self::new(words.next().unwrap_or_default());
        for pair in words {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            order.pairs.insert(key.to_owned(), value.to_owned());
        }
        order
    }

    /// The text of a key, "" if it is missing.
    pub fn text(&self, key: &str) -> &str {
        self.pairs.get(key).map_or("", String::as_str)
    }

    /// The value of a key, if there is one.
    ///
    /// # Panics
    /// When the value is malformed: driver and actors are built together.
    pub fn get<T: FromStr>(&self, key: &str) -> Option<T> {
        let text = self.pairs.get(key)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{key}={text} is malformed in `{self}`")))
    }

    /// The value of a key, or `otherwise` if it is missing.
    ///
    /// # Panics
    /// When the value is malformed.
    pub fn get_or<T: FromStr>(&self, key: &str, otherwise: T) -> T {
        self.get(key).unwrap_or(otherwise)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.word)?;
        self.pairs.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}
