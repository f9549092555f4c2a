//! Checks of fixed values.

use super::{Node, Plan};
use crate::schema::payload::layout::Primitive;
use crate::schema::payload::malformed::{BoxedMalformed, Malformed};

impl Plan {
    /// Whether `bytes`, of the type's length and private to this process, are a value.
    pub(super) fn is_valid(&self, node: usize, bytes: &[u8]) -> bool {
        if self.is_total(node) {
            return true;
        }
        match &self.nodes[node] {
            Node::Primitive(_) => bytes[0] <= 1,
            Node::FixedText(_) => core::str::from_utf8(trimmed(bytes)).is_ok(),
            Node::Array { of, .. } => bytes.chunks_exact(self.size(*of)).all(|each| self.is_valid(*of, each)),
            Node::Enum { repr, values, .. } => values.contains(&repr.integer(bytes)),
            Node::Struct { fields, .. } => fields
                .iter()
                .all(|field| self.is_valid(field.of, &bytes[field.offset..field.offset + self.size(field.of)])),
            _ => true,
        }
    }

    /// Whether `bytes`, of the type's length, are a fixed value.
    ///
    /// # Errors
    /// [`Malformed`]: they are not.
    pub fn check(&self, node: usize, bytes: &[u8]) -> Result<(), BoxedMalformed> {
        if self.is_valid(node, bytes) { Ok(()) } else { Err(self.invalid(node, bytes)) }
    }

    /// The error for `bytes`, which are as long as the type and not a value of it.
    #[cold]
    #[allow(clippy::unnecessary_box_returns, reason = "`BoxedMalformed` is a box")]
    pub(super) fn invalid(&self, node: usize, bytes: &[u8]) -> BoxedMalformed {
        let place = self.name(node);
        Box::new(self.find(node, bytes, &place).unwrap_or(Malformed::Value { name: place.clone(), found: 0, place }))
    }

    fn find(&self, node: usize, bytes: &[u8], place: &str) -> Option<Malformed> {
        let wrong = |found| Some(Malformed::Value { place: place.to_owned(), found, name: self.name(node) });
        match &self.nodes[node] {
            Node::Primitive(Primitive::Bool) if bytes[0] > 1 => wrong(i128::from(bytes[0])),
            Node::FixedText(_) => {
                let error = core::str::from_utf8(trimmed(bytes)).err()?;
                Some(*Malformed::text(place, error.valid_up_to()))
            }
            Node::Array { of, .. } => {
                let mut each = bytes.chunks_exact(self.size(*of)).enumerate();
                let (at, wrong) = each.find(|(_, each)| !self.is_valid(*of, each))?;
                self.find(*of, wrong, &format!("{place}[{at}]"))
            }
            Node::Enum { repr, values, .. } => {
                let found = repr.integer(bytes);
                if values.contains(&found) { None } else { wrong(found) }
            }
            Node::Struct { fields, .. } => fields.iter().find_map(|field| {
                let bytes = &bytes[field.offset..field.offset + self.size(field.of)];
                self.find(field.of, bytes, &format!("{place}.{}", field.name))
            }),
            _ => None,
        }
    }

    /// The bytes of a fixed value.
    pub(super) fn size(&self, node: usize) -> usize {
        self.facts[node].fixed.map_or(1, |fixed| fixed.size)
    }
}

/// Text without the zeros behind it.
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}
