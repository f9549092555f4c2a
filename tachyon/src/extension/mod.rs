//! Endpoints of one copy of this crate in the table of another one, in the same process.
//!
//! A Python extension is linked with a `tachyon` of its own, which shares nothing with the one inside the Python
//! package: not its types, not its allocator, not its idea of a panic. What passes between them is in `abi`.

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
