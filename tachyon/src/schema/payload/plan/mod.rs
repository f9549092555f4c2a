//! Types known at run time: one reader and one writer for every type of a binding's hints.
//!
//! A plan is a list of types. A type refers only to types before it, so a plan has no cycles. The reader does the steps
//! of [`Value`](super::Value)'s implementations, with the same checks in the same order: both accept the same messages,
//! and their errors have the same text.

mod fixed;
mod read;
#[cfg(test)]
mod tests;
mod write;

use thiserror::Error;

use super::head::{MAX_HEAD, PAIR};
use super::layout::Primitive;
use super::tensor::MAX_NDIM;
use super::value::MAX_DEPTH;

pub use read::{Build, Bytes, read_message};
pub use write::{Place, Source, TooLong};

/// Deepest nesting of fixed types: more than real types have, and no danger to the stack.
const MAX_FIXED_DEPTH: usize = 64;

/// Types from hints or from a description.
#[derive(Debug, Default)]
pub struct Plan {
    nodes: Vec<Node>,
    facts: Vec<Facts>,
}

/// One type. It refers to other types by the numbers that [`Plan::add`] returned.
#[derive(Debug, Clone)]
pub enum Node {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// Bytes of this length.
    Bytes(usize),
    /// Text of at most this many bytes, filled up with zeros.
    FixedText(usize),
    /// A fixed number of values of a fixed type.
    Array {
        /// The type of each value.
        of: usize,
        /// The number of values.
        len: usize,
    },
    /// One of a set of numbers.
    Enum {
        /// Its name.
        name: String,
        /// The type of the numbers.
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
    /// Values of one type, in any number.
    List(usize),
    /// A value, or no value.
    Option(usize),
    /// Numbers in a fixed number of dimensions.
    Tensor {
        /// The type of the values, which is not `bool`.
        of: Primitive,
        /// The number of dimensions.
        ndim: usize,
    },
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
    /// Its name: `x`.
    pub name: String,
    /// Its name with that of its payload, for errors: `Scan.x`.
    pub place: String,
    /// Its type.
    pub of: usize,
    /// Whether the reader has a value for the field if the sender does not know it. Only in heads.
    pub has_default: bool,
    /// In bytes; set by [`Plan::add`].
    offset: usize,
}

impl PlanField {
    /// A field of the payload or endpoint `owner`.
    pub fn new(name: &str, place: String, of: usize, has_default: bool) -> Self {
        Self { name: name.to_owned(), place, of, has_default, offset: 0 }
    }

    /// Its distance from the beginning of its payload or head, in bytes.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// Properties of a type.
#[derive(Debug, Clone, Copy)]
struct Facts {
    /// `None` for a variable type.
    fixed: Option<Fixed>,
    /// Whether reading a value copies a part.
    copies: bool,
    /// Nesting: of fixed types in a fixed type, otherwise as [`Value::DEPTH`](super::Value::DEPTH).
    depth: usize,
    /// The end of a head, in bytes.
    head: usize,
}

/// Size and alignment in bytes; `is_total`: any bytes of this length are a value.
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
    /// A number that [`Plan::add`] has not returned.
    #[error("a type refers to a type that is not in the plan yet; add that type first")]
    Unknown,
    /// A variable type in a fixed one.
    #[error("{0} has no fixed size")]
    NotFixed(String),
    /// Types nest too deeply.
    #[error("types nest at most {MAX_DEPTH} deep in one another, and fixed ones {MAX_FIXED_DEPTH}")]
    TooDeep,
    /// A fixed value without bytes, or larger than any message.
    #[error("a fixed value has from 1 byte up to 4 GiB")]
    Size,
    /// A tensor without dimensions, of too many dimensions, or of values that are not numbers.
    #[error("a tensor has 1 to {MAX_NDIM} dimensions, and its values are numbers, which `bool` is not")]
    Tensor,
    /// A gap in a fixed payload.
    #[error("{name} has a gap of {gap} bytes at offset {at}; fill the gap with a field, or reorder the fields")]
    Gap {
        /// The payload.
        name: String,
        /// Length of the gap in bytes.
        gap: usize,
        /// Offset of the gap in bytes.
        at: usize,
    },
    /// A head that is too long for the stack of a reader.
    #[error("the fixed values of {0} have more than {MAX_HEAD} bytes beside others: make one of them a list")]
    Head(String),
}

impl Plan {
    /// A plan without types.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type, and returns its number.
    ///
    /// # Errors
    /// [`PlanError`]: the type cannot be in a plan.
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
            Node::Tensor { of, ndim } => {
                if *of == Primitive::Bool || !(1..=MAX_NDIM).contains(ndim) {
                    return Err(PlanError::Tensor);
                }
                Facts { fixed: None, copies: false, depth: 1, head: 0 }
            }
            Node::Head { name, fields } => self.place_in_head(name, fields)?,
        };
        let max = if facts.fixed.is_some() { MAX_FIXED_DEPTH } else { MAX_DEPTH };
        if facts.depth > max {
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
    /// When the plan has no type of this number.
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Size and alignment of a fixed value in bytes; `None` for other types.
    pub fn layout(&self, node: usize) -> Option<(usize, usize)> {
        self.facts[node].fixed.map(|fixed| (fixed.size, fixed.align))
    }

    /// Whether any bytes of the right length are a value: the type has no `bool`, enum or text in it.
    pub fn is_total(&self, node: usize) -> bool {
        self.facts[node].fixed.is_some_and(|fixed| fixed.is_total)
    }

    /// The end of this type's head, in bytes.
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
            Node::Tensor { of, ndim } => format!("a tensor of {} in {ndim} dimensions", of.name()),
        }
    }
}

impl Facts {
    fn fixed(fixed: Fixed, depth: usize) -> Self {
        Self { fixed: Some(fixed), copies: !fixed.is_total, depth, head: 0 }
    }

    /// The depth that this type contributes to a variable type around it.
    fn nesting(self) -> usize {
        if self.fixed.is_some() { 1 } else { self.depth }
    }
}
