//! Writing: from a binding's values to bytes, in one buffer.

use core::fmt;

use thiserror::Error;

use super::{Node, Plan, PlanField};
use crate::schema::payload::head::{PAIR, align8, begin_list};
use crate::schema::payload::tensor::{MAX_NDIM, head_len, write_head};

/// Converts a binding's values to bytes, and refuses a value of another type.
pub trait Source {
    /// A value.
    type Value;
    /// The binding's error.
    type Error: From<TooLong>;

    /// Writes a fixed value to `out`, which has the size of the type.
    ///
    /// # Errors
    /// The binding's.
    fn fixed(
        &mut self,
        plan: &Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut [u8],
    ) -> Result<(), Self::Error>;
    /// Appends text.
    ///
    /// # Errors
    /// The binding's.
    fn text(&mut self, value: &Self::Value, place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), Self::Error>;
    /// Appends the values of a list of a fixed type; `node` is the list's.
    ///
    /// # Errors
    /// The binding's.
    fn values(
        &mut self,
        plan: &Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;
    /// The values of a list of a variable type.
    ///
    /// # Errors
    /// The binding's.
    fn list(
        &mut self,
        plan: &Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
    ) -> Result<Vec<Self::Value>, Self::Error>;
    /// Appends the values of a tensor in C order, and returns its shape in the first elements.
    ///
    /// # Errors
    /// The binding's.
    fn tensor(
        &mut self,
        plan: &Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<[usize; MAX_NDIM], Self::Error>;
    /// The value of an `Option`; `None` if it holds no value.
    ///
    /// # Errors
    /// The binding's.
    fn option(&mut self, value: &Self::Value) -> Result<Option<Self::Value>, Self::Error>;
    /// The values of the fields of a head.
    ///
    /// # Errors
    /// The binding's.
    fn head(
        &mut self,
        plan: &Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
    ) -> Result<Vec<Self::Value>, Self::Error>;
}

/// A message of 4 GiB or more: a pair has 32 bits for an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message has less than 4 GiB")]
pub struct TooLong;

/// The path of a value, for errors: `points[3].x`.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A whole message, or a field.
    Root(&'a str),
    /// A field of the value at a place.
    Field(&'a Place<'a>, &'a str),
    /// An element of the value at a place.
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

impl Plan {
    /// Writes a value of type `node` as a whole message to `out`, which is empty.
    ///
    /// # Errors
    /// [`TooLong`], or the binding's.
    #[inline]
    pub fn write_message<S: Source>(
        &self,
        node: usize,
        value: &S::Value,
        place: &Place<'_>,
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        debug_assert!(out.is_empty(), "parts begin at multiples of 8");
        self.write_part(node, value, place, source, out)
    }

    /// Writes the head of type `node` with these values of its fields, and their parts, to `out`, which is empty.
    ///
    /// # Errors
    /// Those of [`write_message`](Self::write_message).
    #[inline]
    pub fn write_fields<S: Source>(
        &self,
        node: usize,
        values: &[S::Value],
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        let Node::Head { fields, .. } = &self.nodes[node] else { return Ok(()) };
        self.write_head(node, fields, values, None, source, out)
    }

    fn write_part<S: Source>(
        &self,
        node: usize,
        value: &S::Value,
        place: &Place<'_>,
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        match &self.nodes[node] {
            Node::Text => source.text(value, place, out),
            Node::List(of) if self.layout(*of).is_some() => source.values(self, node, value, place, out),
            Node::List(of) => {
                let values = source.list(self, node, value, place)?;
                let begin = out.len();
                // A longer list has more bytes than a pair can name.
                if values.len() > (u32::MAX / 8) as usize {
                    return Err(TooLong.into());
                }
                out.resize(begin + 8 + 8 * values.len(), 0);
                begin_list(&mut out[begin..], values.len());
                for (index, value) in values.iter().enumerate() {
                    let place = Place::Item(place, index);
                    self.write_at(begin, 8 + 8 * index, *of, value, &place, source, out)?;
                }
                Ok(())
            }
            Node::Tensor { ndim, .. } => {
                let begin = out.len();
                let values = begin + head_len(*ndim);
                out.resize(values, 0);
                let shape = source.tensor(self, node, value, place, out)?;
                write_head(&shape[..*ndim], &mut out[begin..values]);
                Ok(())
            }
            Node::Option(of) => {
                let begin = begin_head(4 + PAIR.0, out);
                match source.option(value)? {
                    Some(value) => self.write_at(begin, 4, *of, &value, place, source, out),
                    None => Ok(()),
                }
            }
            Node::Head { fields, .. } => {
                let values = source.head(self, node, value, place)?;
                self.write_head(node, fields, &values, Some(place), source, out)
            }
            _ => {
                let begin = out.len();
                out.resize(begin + self.size(node), 0);
                source.fixed(self, node, value, place, &mut out[begin..])
            }
        }
    }

    fn write_head<S: Source>(
        &self,
        node: usize,
        fields: &[PlanField],
        values: &[S::Value],
        owner: Option<&Place<'_>>,
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        assert_eq!(fields.len(), values.len(), "the binding has a value for each field");
        let begin = begin_head(self.head_len(node), out);
        for (field, value) in fields.iter().zip(values) {
            let own = owner.map_or(Place::Root(&field.name), |owner| Place::Field(owner, &field.name));
            if let Some((size, _)) = self.layout(field.of) {
                let at = begin + field.offset;
                source.fixed(self, field.of, value, &own, &mut out[at..at + size])?;
            } else if let Node::Option(of) = self.nodes[field.of] {
                if let Some(value) = source.option(value)? {
                    self.write_at(begin, field.offset, of, &value, &own, source, out)?;
                }
            } else {
                self.write_at(begin, field.offset, field.of, value, &own, source, out)?;
            }
        }
        Ok(())
    }

    /// Appends a part, and writes its pair `at` bytes after `begin`. The offset in the pair counts from `begin`.
    #[allow(clippy::too_many_arguments, reason = "the place of the pair, and the arguments of `write_part`")]
    fn write_at<S: Source>(
        &self,
        begin: usize,
        at: usize,
        node: usize,
        value: &S::Value,
        place: &Place<'_>,
        source: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        let part = out.len();
        self.write_part(node, value, place, source, out)?;
        let pair = [part - begin, out.len() - part];
        for (at, word) in [begin + at, begin + at + 4].into_iter().zip(pair) {
            let word = u32::try_from(word).map_err(|_| TooLong)?;
            out[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        out.resize(align8(out.len()), 0);
        Ok(())
    }
}

/// Appends a head of `len` bytes: its length, then zeros. Returns its beginning.
fn begin_head(len: usize, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.resize(begin + align8(len), 0);
    #[allow(clippy::cast_possible_truncation, reason = "`Plan::add` refuses more than 4096")]
    out[begin..begin + 4].copy_from_slice(&(len as u32).to_le_bytes());
    begin
}
