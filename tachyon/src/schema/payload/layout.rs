//! Layouts of types, in memory and in messages, as constants.

use crate::error_kind::ErrorKind;

/// The layout of a fixed type in memory. All sizes and offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// `len` values of one type.
    Array {
        /// The type of each element.
        of: &'static Layout,
        /// The number of elements.
        len: usize,
    },
    /// Fields one after the other, without gaps.
    Struct(StructLayout),
    /// One of a set of numbers.
    Enum(EnumLayout),
}

/// A number or a `bool`, in the machine's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each variant is the Rust type of its name")]
pub enum Primitive {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
    Bool,
}

impl Primitive {
    /// Every primitive.
    pub const ALL: [Self; 11] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F32,
        Self::F64,
        Self::Bool,
    ];

    /// Its name in Rust, and in every description.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
        }
    }

    /// Its size in bytes, which is also its alignment.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    const fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// The whole number in `bytes`, which is as long as this type.
    pub(super) fn integer(self, bytes: &[u8]) -> i128 {
        let mut wide = [0; 16];
        let negative = self.is_signed() && bytes.last().is_some_and(|last| last.cast_signed() < 0);
        wide.fill(if negative { 0xFF } else { 0 });
        wide[..bytes.len()].copy_from_slice(bytes);
        // Bytes and sign extension are little-endian, like every machine that the assertion below admits.
        i128::from_le_bytes(wide)
    }
}

const _: () = assert!(cfg!(target_endian = "little"), "payloads are little-endian");

/// The layout of a struct marked with `#[tachyon::payload]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructLayout {
    /// The struct's name.
    pub name: &'static str,
    /// The struct's doc comment.
    pub doc: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its alignment in bytes.
    pub align: usize,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

/// One field of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The field's name. A name that begins with `_` is padding, and is not compared.
    pub name: &'static str,
    /// The layout of the field's type.
    pub layout: &'static Layout,
    /// Its distance from the struct's beginning, in bytes.
    pub offset: usize,
}

/// The layout of an enum marked with `#[tachyon::payload]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnumLayout {
    /// The enum's name.
    pub name: &'static str,
    /// The enum's doc comment.
    pub doc: &'static str,
    /// The number that stands for the variant.
    pub repr: Primitive,
    /// Its variants, in order.
    pub variants: &'static [Variant],
}

/// One variant of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The variant's name.
    pub name: &'static str,
    /// The number that stands for it.
    pub value: i128,
}

/// A type that travels, as a constant. [`Value::TYPE`](super::Value::TYPE) is the constant of a type.
///
/// ```
/// use tachyon::payload::{Value, ValueType};
///
/// assert_eq!(Vec::<String>::TYPE, &ValueType::List(&ValueType::Text));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueType {
    /// A fixed payload: its bytes are the same in every message.
    Fixed(&'static Layout),
    /// UTF-8 text of any length.
    Text,
    /// Values of one type, in any number.
    List(&'static ValueType),
    /// A value, or no value.
    Option(&'static ValueType),
    /// Numbers in a fixed number of dimensions.
    Tensor {
        /// The type of the values, which is not `bool`.
        of: Primitive,
        /// The number of dimensions, from 1 to 8.
        ndim: usize,
    },
    /// A payload with a head: a struct with text, lists, options or variable payloads in it.
    Variable(&'static HeadLayout),
}

/// Fields in the order of their offsets: those of a variable payload, of an endpoint's arguments, of a declared error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLayout {
    /// The payload's or the error's name; empty for arguments.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// The end of the last field, in bytes from the head's beginning.
    pub len: usize,
    /// The fields, in order.
    pub fields: &'static [HeadField],
}

/// A declared error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorLayout {
    /// The kind of its error reply.
    pub kind: ErrorKind,
    /// Its name and fields.
    pub head: HeadLayout,
}

/// One field of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadField {
    /// The field's name.
    pub name: &'static str,
    /// The type of its value.
    pub value_type: &'static ValueType,
    /// Its distance from the head's beginning, in bytes.
    pub offset: usize,
}

impl Layout {
    /// Its size in bytes.
    pub const fn size(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, len } => of.size() * *len,
            Self::Struct(layout) => layout.size,
            Self::Enum(layout) => layout.repr.size(),
        }
    }

    /// Its alignment in bytes.
    pub const fn align(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, .. } => of.align(),
            Self::Struct(layout) => layout.align,
            Self::Enum(layout) => layout.repr.size(),
        }
    }

    /// Whether any bytes of the right length are a value: the type has no `bool` and no enum in it.
    pub const fn accepts_any_bytes(&self) -> bool {
        match self {
            Self::Primitive(primitive) => !matches!(primitive, Primitive::Bool),
            Self::Array { of, .. } => of.accepts_any_bytes(),
            Self::Struct(layout) => {
                let mut at = 0;
                while at < layout.fields.len() {
                    if !layout.fields[at].layout.accepts_any_bytes() {
                        return false;
                    }
                    at += 1;
                }
                true
            }
            Self::Enum(_) => false,
        }
    }

    /// The type as Rust writes it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Primitive(primitive) => primitive.name().to_owned(),
            Self::Array { of, len } => format!("[{}; {len}]", of.name()),
            Self::Struct(layout) => layout.name.to_owned(),
            Self::Enum(layout) => layout.name.to_owned(),
        }
    }
}
