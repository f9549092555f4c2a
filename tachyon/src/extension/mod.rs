//! Extensions: endpoints of one copy of this crate in the dispatch table of another copy, in the same process.
//!
//! A Python extension is linked with a `tachyon` of its own. That copy shares neither types nor allocator nor panic
//! runtime with the copy in the Python package. The interface between the two is in `abi`.

mod abi;
mod adopt;
#[cfg(feature = "python")]
mod host_reply;
#[cfg(feature = "python")]
pub mod python;

pub(crate) use abi::{ABI, Call, Endpoint, Head, MAGIC, NO_DEADLINE, NO_USER, Sizes, Steps, Text, status};
pub use adopt::{NativeError, adopt};
#[cfg(feature = "python")]
pub(crate) use host_reply::{HostReply, HostRoom};
