//! Reading: from a peer's bytes to a binding's values.

use super::{Node, Plan, PlanField};
use crate::schema::payload::fixed::copy_once;
use crate::schema::payload::head::{Head, MAX_HEAD, PAIR, Pair, cut};
use crate::schema::payload::list::check_list;
use crate::schema::payload::malformed::{BoxedMalformed, Malformed};
use crate::schema::payload::scratch::{Scratch, with_scratch};
use crate::schema::payload::tensor;

/// Longest head, in bytes, that is copied to the stack. A longer head is copied to the heap.
const SHORT_HEAD: usize = 256;

/// Most bytes that are reserved for a list before its values are read.
const STEP: usize = 64 * 1024;

/// Offset of the pair in the head of an `Option` that is a whole message or in a list.
const OPTION_AT: usize = 4;

/// Makes a binding's values, in the order of the message. The bytes of a value are checked before.
pub trait Build {
    /// A value.
    type Value;
    /// The binding's error.
    type Error: From<BoxedMalformed>;

    /// Makes a fixed value.
    ///
    /// # Errors
    /// The binding's.
    fn fixed(&mut self, plan: &Plan, node: usize, bytes: Bytes<'_>) -> Result<Self::Value, Self::Error>;
    /// Makes a text.
    ///
    /// # Errors
    /// The binding's.
    fn text(&mut self, text: &str) -> Result<Self::Value, Self::Error>;
    /// Makes a list of the values of a fixed type, which lie one behind the other; `node` is the list's.
    ///
    /// # Errors
    /// The binding's.
    fn values(&mut self, plan: &Plan, node: usize, bytes: Bytes<'_>) -> Result<Self::Value, Self::Error>;
    /// Makes a list of values of a variable type.
    ///
    /// # Errors
    /// The binding's.
    fn list(&mut self, plan: &Plan, node: usize, values: Vec<Self::Value>) -> Result<Self::Value, Self::Error>;
    /// Makes a tensor of these values, which lie in C order.
    ///
    /// # Errors
    /// The binding's.
    fn tensor(
        &mut self,
        plan: &Plan,
        node: usize,
        shape: &[usize],
        bytes: Bytes<'_>,
    ) -> Result<Self::Value, Self::Error>;
    /// Makes an `Option` that holds a value; for most bindings this is the value itself.
    ///
    /// # Errors
    /// The binding's.
    fn some(&mut self, value: Self::Value) -> Result<Self::Value, Self::Error> {
        Ok(value)
    }
    /// Makes an `Option` that holds no value.
    fn none(&mut self) -> Self::Value;
    /// Makes the default of a field that the sender does not know.
    ///
    /// # Errors
    /// The binding's.
    fn default(&mut self, plan: &Plan, node: usize, field: usize) -> Result<Self::Value, Self::Error>;
    /// Makes a value from the fields of a head.
    ///
    /// # Errors
    /// The binding's.
    fn head(&mut self, plan: &Plan, node: usize, values: Vec<Self::Value>) -> Result<Self::Value, Self::Error>;
}

/// The bytes of fixed values.
#[derive(Debug, Clone, Copy)]
pub enum Bytes<'a> {
    /// Bytes in the message. The type accepts any bytes, so a peer that still writes there can change a value, and
    /// cannot make it invalid.
    InPlace(&'a [u8]),
    /// Checked bytes that no peer can write to.
    Private(&'a [u8]),
}

impl<'a> Bytes<'a> {
    /// The bytes.
    #[inline]
    pub fn get(self) -> &'a [u8] {
        match self {
            Self::InPlace(bytes) | Self::Private(bytes) => bytes,
        }
    }
}

/// Reads a whole message of type `node`. `place` is its name in errors; `is_private`: no peer can write to the message.
///
/// # Errors
/// [`Malformed`], or the binding's.
#[inline]
pub fn read_message<B: Build>(
    plan: &Plan,
    node: usize,
    message: &[u8],
    is_private: bool,
    place: &str,
    build: &mut B,
) -> Result<B::Value, B::Error> {
    let copies = plan.facts[node].copies && !is_private;
    with_scratch(copies, message, |message, scratch| {
        let mut reader = Reader { plan, build, is_copied: false };
        let mut scratch = if is_private { Scratch::private() } else { scratch.reborrow() };
        if let Some((size, _)) = plan.layout(node) {
            // The error of a fixed message has no place, like that of `Value::read_message`.
            return reader.fixed(node, size, message, &mut scratch, None);
        }
        reader.part(node, message, &mut scratch, place)
    })
}

struct Reader<'r, B> {
    plan: &'r Plan,
    build: &'r mut B,
    /// Whether the current part was copied already, with the list around it.
    is_copied: bool,
}

impl<B: Build> Reader<'_, B> {
    /// The value of a part.
    fn part<'a>(
        &mut self,
        node: usize,
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &str,
    ) -> Result<B::Value, B::Error> {
        match &self.plan.nodes[node] {
            Node::Text => {
                let Some(held) = scratch.hold(part) else {
                    return Err(BoxedMalformed::from(Malformed::Misaligned).at(place).into());
                };
                match core::str::from_utf8(held) {
                    Ok(text) => self.build.text(text),
                    Err(error) => Err(Malformed::text(place, error.valid_up_to()).into()),
                }
            }
            Node::List(of) if self.plan.layout(*of).is_some() => self.values(node, *of, part, scratch, place),
            Node::List(of) => self.list(node, *of, part, scratch, place),
            Node::Option(of) => {
                let copy = &mut [0; OPTION_AT + PAIR.0];
                copy_known(part, copy);
                let mut head = Head::over(&*copy, part, place)?;
                let found = head.part(OPTION_AT, place)?;
                self.option(*of, found, scratch, place)
            }
            Node::Tensor { of, ndim } => {
                let (shape, values) = tensor::open(part, *ndim, *of, place)?;
                self.build.tensor(self.plan, node, &shape[..*ndim], self.in_place(values))
            }
            Node::Head { name, fields } => self.head(node, name, fields, part, scratch),
            _ => self.fixed(node, self.plan.size(node), part, scratch, Some(place)),
        }
    }

    /// A fixed value that is a part or a message of its own.
    fn fixed<'a>(
        &mut self,
        node: usize,
        size: usize,
        bytes: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: Option<&str>,
    ) -> Result<B::Value, B::Error> {
        let at = |problem: BoxedMalformed| {
            match place {
                Some(place) => problem.at(place),
                None => problem,
            }
            .into()
        };
        if bytes.len() != size {
            let problem = BoxedMalformed::from(Malformed::Length {
                name: self.plan.name(node),
                expected: size,
                found: bytes.len(),
            });
            return Err(at(problem));
        }
        if self.plan.is_total(node) {
            return self.build.fixed(self.plan, node, self.in_place(bytes));
        }
        let Some(held) = scratch.hold(bytes) else { return Err(at(Malformed::Misaligned.into())) };
        if !self.plan.is_valid(node, held) {
            return Err(at(self.plan.invalid(node, held)));
        }
        self.build.fixed(self.plan, node, Bytes::Private(held))
    }

    fn in_place<'a>(&self, bytes: &'a [u8]) -> Bytes<'a> {
        if self.is_copied { Bytes::Private(bytes) } else { Bytes::InPlace(bytes) }
    }

    /// A list of values of a fixed type.
    fn values<'a>(
        &mut self,
        node: usize,
        of: usize,
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &str,
    ) -> Result<B::Value, B::Error> {
        let each = self.plan.size(of);
        if !part.len().is_multiple_of(each) {
            let problem =
                BoxedMalformed::from(Malformed::Remainder { name: self.plan.name(of), each, found: part.len() });
            return Err(problem.at(place).into());
        }
        if self.plan.is_total(of) {
            return self.build.values(self.plan, node, self.in_place(part));
        }
        let Some(held) = scratch.hold(part) else {
            return Err(BoxedMalformed::from(Malformed::Misaligned).at(place).into());
        };
        if let Some(wrong) = held.chunks_exact(each).find(|bytes| !self.plan.is_valid(of, bytes)) {
            return Err(self.plan.invalid(of, wrong).at(place).into());
        }
        self.build.values(self.plan, node, Bytes::Private(held))
    }

    /// A list of values of a variable type. Its part is copied whole.
    fn list<'a>(
        &mut self,
        node: usize,
        of: usize,
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &str,
    ) -> Result<B::Value, B::Error> {
        let Some(part) = scratch.hold(part) else {
            return Err(BoxedMalformed::from(Malformed::Misaligned).at(place).into());
        };
        let end_of_pairs = check_list(part, place)?;
        let before = core::mem::replace(&mut self.is_copied, true);
        let pairs = part[8..end_of_pairs].chunks_exact(8);
        let mut values = Vec::with_capacity(pairs.len().min(STEP / size_of::<B::Value>().max(1)));
        let mut end = end_of_pairs;
        for pair in pairs {
            let Some(found) = cut(part, Pair::decode(pair), &mut end, place)? else {
                return Err(Malformed::missing(place).into());
            };
            values.push(self.part(of, found, &mut Scratch::private(), place)?);
        }
        self.is_copied = before;
        self.build.list(self.plan, node, values)
    }

    fn option<'a>(
        &mut self,
        of: usize,
        found: Option<&'a [u8]>,
        scratch: &mut Scratch<'a>,
        place: &str,
    ) -> Result<B::Value, B::Error> {
        match found {
            Some(part) => {
                let value = self.part(of, part, scratch, place)?;
                self.build.some(value)
            }
            None => Ok(self.build.none()),
        }
    }

    fn head<'a>(
        &mut self,
        node: usize,
        name: &str,
        fields: &[PlanField],
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
    ) -> Result<B::Value, B::Error> {
        let len = self.plan.facts[node].head;
        debug_assert!(len <= MAX_HEAD, "`Plan::add` refuses longer heads");
        let mut short = [0; SHORT_HEAD];
        let mut long = Vec::new();
        let copy = if let Some(short) = short.get_mut(..len) {
            short
        } else {
            long.resize(len, 0);
            &mut long[..]
        };
        copy_known(part, copy);
        let mut head = Head::over(&*copy, part, name)?;
        let mut values = Vec::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            values.push(self.field(node, index, field, &mut head, scratch)?);
        }
        self.build.head(self.plan, node, values)
    }

    fn field<'a>(
        &mut self,
        node: usize,
        index: usize,
        field: &PlanField,
        head: &mut Head<'a, &[u8]>,
        scratch: &mut Scratch<'a>,
    ) -> Result<B::Value, B::Error> {
        let place = &field.place;
        if let Some(fixed) = self.plan.facts[field.of].fixed {
            let Some(bytes) = head.fixed_bytes(field.offset, fixed.size, place)? else {
                return self.absent(node, index, field);
            };
            if !fixed.is_total && !self.plan.is_valid(field.of, bytes) {
                return Err(self.plan.invalid(field.of, bytes).at(place).into());
            }
            return self.build.fixed(self.plan, field.of, Bytes::Private(bytes));
        }
        if field.has_default && head.fixed_bytes(field.offset, PAIR.0, place)?.is_none() {
            return self.absent(node, index, field);
        }
        let found = head.part(field.offset, place)?;
        if let Node::Option(of) = self.plan.nodes[field.of] {
            return self.option(of, found, scratch, place);
        }
        match found {
            Some(part) => self.part(field.of, part, scratch, place),
            None => Err(Malformed::missing(place).into()),
        }
    }

    /// A field that the sender does not know.
    fn absent(&mut self, node: usize, index: usize, field: &PlanField) -> Result<B::Value, B::Error> {
        if field.has_default {
            return self.build.default(self.plan, node, index);
        }
        Err(Malformed::missing(&field.place).into())
    }
}

/// Copies the beginning of `part`, and leaves zeros where it is shorter.
#[inline]
fn copy_known(part: &[u8], copy: &mut [u8]) {
    let known = part.len().min(copy.len());
    copy_once(&part[..known], &mut copy[..known]);
}
