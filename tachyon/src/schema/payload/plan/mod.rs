//! Types known at run time only: one reader and one writer for every type that a binding's hints can say.
//!
//! A plan is a list of types in which each names only types before it, so that it has no cycles and no type stands in it
//! twice. The reader takes the steps of [`Value`](super::Value)'s implementations, with the same checks in the same
//! order: both judge a message alike, in the same words.

mod fixed;
mod read;
#[cfg(test)]
mod tests;
mod write;

use thiserror::Error;

use super::head::{MAX_HEAD, PAIR};
use super::layout::Primitive;
use super::value::DEEPEST;

pub use read::{Build, Bytes, read_message};
pub use write::{Place, Source, TooLong};

/// How deep fixed types nest: far more than real types do, and no danger to the stack.
const DEEPEST_FIXED: usize = 64;

/// Types that were found in hints, or in a description.
#[derive(Debug, Default)]
pub struct Plan {
    nodes: Vec<Node>,
    facts: Vec<Facts>,
}

/// One type; the numbers are those of types that [`Plan::add`] gave before.
#[derive(Debug, Clone)]
pub enum Node {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// So many bytes.
    Bytes(usize),
    /// Text of at most so many bytes, filled up with zeros.
    FixedText(usize),
    /// So many values of a fixed type.
    Array {
        /// The type of each.
        of: usize,
        /// How many there are.
        len: usize,
    },
    /// One of a set of numbers.
    Enum {
        /// Its name.
        name: String,
        /// The number that stands for a value.
        repr: Primitive,
        /// The numbers.
        values: Vec<i128>,
    },
    /// A fixed payload, without gaps.
    Struct {
        /// Its name.
        name: String,
        /// The fields, in order.
        fields: Vec<PlanField>,
    },
    /// UTF-8 text of any length.
    Text,
    /// Any number of values of one type.
    List(usize),
    /// A value, or none.
    Option(usize),
    /// Fields of a head: a variable payload, several arguments, a declared error.
    Head {
        /// Its name in errors.
        name: String,
        /// The fields, in order.
        fields: Vec<PlanField>,
    },
}

/// A field of a fixed payload or of a head.
#[derive(Debug, Clone)]
pub struct PlanField {
    /// Its name in errors, after that of its payload: `x`.
    pub name: String,
    /// Its name in errors where it stands for itself: `Scan.x`.
    pub place: String,
    /// Its type.
    pub of: usize,
    /// Whether the reader has a value for it where the sender does not know the field. Only heads have such.
    pub has_default: bool,
    /// Where it lies; [`Plan::add`] says.
    offset: usize,
}

impl PlanField {
    /// A field of the payload or endpoint `owner`.
    pub fn new(name: &str, place: String, of: usize, has_default: bool) -> Self {
        Self { name: name.to_owned(), place, of, has_default, offset: 0 }
    }

    /// Its distance from the beginning of its payload, or of its head.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// Properties of a type.
#[derive(Debug, Clone, Copy)]
struct Facts {
    /// Of a fixed value: bytes, alignment, and whether any bytes are one.
    fixed: Option<Fixed>,
    /// Whether reading one copies a part.
    copies: bool,
    /// How deep its types nest: fixed ones among themselves, others as [`Value::DEPTH`](super::Value::DEPTH) has it.
    depth: usize,
    /// Where a head ends.
    head: usize,
}

#[derive(Debug, Clone, Copy)]
struct Fixed {
    size: usize,
    align: usize,
    is_total: bool,
}

/// Types that cannot be in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A number that [`Plan::add`] has not given.
    #[error("a type is named before it is there")]
    Unknown,
    /// A type that is part of every value, and has no fixed size.
    #[error("{0} has no fixed size")]
    NotFixed(String),
    /// Types nest too deep.
    #[error("types nest at most {DEEPEST} deep in one another, and fixed ones {DEEPEST_FIXED}")]
    TooDeep,
    /// A fixed value without bytes, or of more than any message has.
    #[error("a fixed value has from 1 byte up to 4 GiB")]
    Size,
    /// Fixed payloads have no gaps.
    #[error("{name} has a gap of {gap} bytes at offset {at}")]
    Gap {
        /// The payload.
        name: String,
        /// Its bytes.
        gap: usize,
        /// Where it begins.
        at: usize,
    },
    /// A reader copies a head to its stack.
    #[error("the fixed values of {0} have more than {MAX_HEAD} bytes beside others: make one of them a list")]
    Head(String),
}

impl Plan {
    /// A plan without types.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type, and gives its number.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn add(&mut self, mut node: Node) -> Result<usize, PlanError> {
        let facts = match &mut node {
            Node::Primitive(primitive) => {
                let size = primitive.size();
                Facts::fixed(Fixed { size, align: size, is_total: *primitive != Primitive::Bool }, 1)
            }
            Node::Enum { repr, .. } => {
                let size = repr.size();
                Facts::fixed(Fixed { size, align: size, is_total: false }, 1)
            }
            Node::Bytes(len) => Facts::fixed(Fixed { size: *len, align: 1, is_total: true }, 1),
            Node::FixedText(len) => Facts::fixed(Fixed { size: *len, align: 1, is_total: false }, 1),
            Node::Array { of, len } => {
                let each = self.fixed(*of)?;
                let size = each.size.checked_mul(*len).ok_or(PlanError::Size)?;
                Facts::fixed(Fixed { size, ..each }, self.facts(*of)?.depth + 1)
            }
            Node::Struct { name, fields } => self.place_fixed(name, fields)?,
            Node::Text => Facts { fixed: None, copies: true, depth: 1, head: 0 },
            Node::List(of) => {
                let each = self.facts(*of)?;
                let copies = each.fixed.is_none_or(|fixed| !fixed.is_total);
                Facts { fixed: None, copies, depth: each.nesting() + 1, head: 0 }
            }
            Node::Option(of) => {
                let each = self.facts(*of)?;
                Facts { fixed: None, copies: each.copies, depth: each.nesting() + 1, head: 0 }
            }
            Node::Head { name, fields } => self.place_in_head(name, fields)?,
        };
        let deepest = if facts.fixed.is_some() { DEEPEST_FIXED } else { DEEPEST };
        if facts.depth > deepest {
            return Err(PlanError::TooDeep);
        }
        if facts.fixed.is_some_and(|fixed| fixed.size == 0 || u32::try_from(fixed.size).is_err()) {
            return Err(PlanError::Size);
        }
        self.nodes.push(node);
        self.facts.push(facts);
        Ok(self.nodes.len() - 1)
    }

    fn place_fixed(&self, name: &str, fields: &mut [PlanField]) -> Result<Facts, PlanError> {
        let (mut end, mut align, mut is_total, mut depth) = (0_usize, 1, true, 0);
        let gap = |at: usize, align: usize| match at.next_multiple_of(align) - at {
            0 => Ok(()),
            gap => Err(PlanError::Gap { name: name.to_owned(), gap, at }),
        };
        for field in fields {
            let fixed = self.fixed(field.of)?;
            gap(end, fixed.align)?;
            field.offset = end;
            end = end.checked_add(fixed.size).ok_or(PlanError::Size)?;
            align = align.max(fixed.align);
            is_total &= fixed.is_total;
            depth = depth.max(self.facts(field.of)?.depth);
        }
        gap(end, align)?;
        Ok(Facts::fixed(Fixed { size: end, align, is_total }, depth + 1))
    }

    fn place_in_head(&self, name: &str, fields: &mut [PlanField]) -> Result<Facts, PlanError> {
        let (mut end, mut copies, mut depth) = (4_usize, false, 0);
        for field in fields {
            let facts = self.facts(field.of)?;
            let (size, align) = facts.fixed.map_or(PAIR, |fixed| (fixed.size, fixed.align));
            field.offset = end.next_multiple_of(align);
            end = field.offset.checked_add(size).ok_or(PlanError::Size)?;
            copies |= facts.copies && facts.fixed.is_none();
            depth = depth.max(facts.nesting());
        }
        if end > MAX_HEAD {
            return Err(PlanError::Head(name.to_owned()));
        }
        Ok(Facts { fixed: None, copies, depth: depth + 1, head: end })
    }

    fn facts(&self, node: usize) -> Result<Facts, PlanError> {
        self.facts.get(node).copied().ok_or(PlanError::Unknown)
    }

    fn fixed(&self, node: usize) -> Result<Fixed, PlanError> {
        self.facts(node)?.fixed.ok_or_else(|| PlanError::NotFixed(self.name(node)))
    }

    /// A type.
    ///
    /// # Panics
    /// When the plan has none of this number.
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Bytes and alignment of a fixed value; `None` for other types.
    pub fn layout(&self, node: usize) -> Option<(usize, usize)> {
        self.facts[node].fixed.map(|fixed| (fixed.size, fixed.align))
    }

    /// Whether any bytes of the right length are a value: there is no `bool`, enum or text in it.
    pub fn is_total(&self, node: usize) -> bool {
        self.facts[node].fixed.is_some_and(|fixed| fixed.is_total)
    }

    /// Where the head of this type ends.
    pub fn head_len(&self, node: usize) -> usize {
        self.facts[node].head
    }

    /// A type's name in errors.
    pub fn name(&self, node: usize) -> String {
        match &self.nodes[node] {
            Node::Primitive(primitive) => primitive.name().to_owned(),
            Node::Bytes(len) => format!("bytes[{len}]"),
            Node::FixedText(len) => format!("str[{len}]"),
            Node::Array { of, len } => format!("[{}; {len}]", self.name(*of)),
            Node::Enum { name, .. } | Node::Struct { name, .. } | Node::Head { name, .. } => name.clone(),
            Node::Text => "str".to_owned(),
            Node::List(of) => format!("a list of {}", self.name(*of)),
            Node::Option(of) => format!("optional {}", self.name(*of)),
        }
    }
}

impl Facts {
    fn fixed(fixed: Fixed, depth: usize) -> Self {
        Self { fixed: Some(fixed), copies: !fixed.is_total, depth, head: 0 }
    }

    /// How deep a type that has this one in it nests, but for itself.
    fn nesting(self) -> usize {
        if self.fixed.is_some() { 1 } else { self.depth }
    }
}
