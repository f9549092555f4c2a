//! Descriptions of endpoints: their names, and the layouts of their requests, replies and errors.
//!
//! A [`Signature`] is the contract of an endpoint as a constant. A [`Description`] holds the same as data: it travels
//! as JSON, which `docs/guide/describe.md` defines, and may come from any language. A [`Mismatch`] is the first
//! difference between the two sides of an endpoint, which [`EndpointDescription::agree_with`] finds.

mod compare;
mod control;
mod description;
mod json;
mod signature;

pub use compare::Mismatch;
pub use control::CalleeLimits;
#[cfg(feature = "tokio")]
pub(crate) use control::fits_chunk;
pub(crate) use control::{Chunk, Operation, Query, WHOLE_TABLE, chunk};
pub use description::{
    DescribeError, Description, EndpointDescription, EnumDescription, ErrorDescription, FieldDescription,
    FormDescription, HeadDescription, StructDescription, TypeDescription, VariantDescription,
};
pub(crate) use json::{TypeJson, Writer};
pub use signature::{EndpointKind, Signature};
