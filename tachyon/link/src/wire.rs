//! The messages between the two ends of a link, in protocol buffers. A message of a lane is a [`Batch`].

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// The version of these messages. An end refuses another one.
pub(crate) const PROTOCOL: u32 = 1;

/// Frames that travel together.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) frames: Vec<Frame>,
}

/// One message of a call or of a stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Frame {
    /// The call. A lane of a stream has no other.
    #[prost(uint64, tag = "1")]
    pub(crate) call: u64,
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub(crate) body: Option<Body>,
}

/// The body of a frame.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Body {
    /// The first frame of each direction of a lane of calls.
    #[prost(message, tag = "2")]
    Hello(Hello),
    /// A call, or the first frame of a lane of a stream.
    #[prost(message, tag = "3")]
    Request(Request),
    /// A reply to a call, or to a stream of the caller's items.
    #[prost(bytes = "bytes", tag = "4")]
    Reply(Bytes),
    /// An error in place of a reply, or at the end of a stream.
    #[prost(message, tag = "5")]
    Failure(Failure),
    /// The near end gives a call up.
    #[prost(bool, tag = "6")]
    Cancel(bool),
    /// An item of a stream, of either side.
    #[prost(bytes = "bytes", tag = "7")]
    Item(Bytes),
    /// The end of a side's items.
    #[prost(bool, tag = "8")]
    End(bool),
    /// Asks for the description of one endpoint, or of all (65535). The reply is JSON.
    #[prost(uint32, tag = "9")]
    Describe(u32),
    /// The callee behind the far end has another description than before.
    #[prost(fixed64, tag = "10")]
    Version(u64),
}

/// The first frame of a lane of calls, from each end.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    /// From the far end: the version of the callee's description, or 0 without a callee.
    #[prost(fixed64, tag = "2")]
    pub(crate) version: u64,
    /// Bytes of the longest message that this end takes.
    #[prost(uint64, tag = "3")]
    pub(crate) max_message: u64,
}

/// A call, or the OPEN of a stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(uint32, tag = "1")]
    pub(crate) msg_type: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
    /// The time that is left, in nanoseconds.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) remaining: Option<u64>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// The version of the description that the caller has compared itself with, or 0.
    #[prost(fixed64, tag = "5")]
    pub(crate) version: u64,
    /// Of an OPEN: bytes of the longest message that the near end takes.
    #[prost(uint64, tag = "6")]
    pub(crate) max_message: u64,
}

/// An error of the callee, or of the far end in its place.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failure {
    /// The number of the [`ErrorKind`](tachyon::ErrorKind).
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    /// The name of a declared error.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
    /// The encoded fields of a declared error.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) fields: Bytes,
}

impl Frame {
    pub(crate) fn new(call: u64, body: Body) -> Self {
        Self { call, body: Some(body) }
    }
}
