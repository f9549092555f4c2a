//! Descriptions of endpoints: their names, and how their requests and replies lie in memory.
//!
//! A [`Signature`] is what an endpoint knows about itself, as a constant. A [`Description`] is the same as data: it
//! travels as JSON, which `docs/guide/describe.md` defines, and may come from any language.

mod compare;
mod control;
mod description;
mod json;
mod signature;

pub use compare::Mismatch;
pub(crate) use control::{Chunk, Operation, Query, WHOLE_TABLE, chunk};
pub use description::{
    DescribeError, Description, EndpointDescription, EnumDescription, FieldDescription, FormDescription,
    HeadDescription, StructDescription, TypeDescription, VariantDescription,
};
pub(crate) use json::{TypeJson, Writer};
pub use signature::Signature;
