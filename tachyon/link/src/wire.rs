//! The messages between the two ends of a link, in protocol buffers. A message of a lane is a [`Batch`].

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use prost::{DecodeError, Message};

/// The number of the whole table in a question for a description.
pub(crate) const WHOLE_TABLE: u32 = 0xFFFF;

/// The version of these messages. An end refuses another one.
pub(crate) const PROTOCOL: u32 = 1;

/// Frames that travel together. [`Frames`] reads them.
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
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
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
    /// Asks for a description. The reply is JSON.
    #[prost(message, tag = "9")]
    Describe(Describe),
    /// The callee behind the far end has another description than before.
    #[prost(fixed64, tag = "10")]
    Version(u64),
    /// A part of a long frame of a lane of calls. The parts in a row are the encoded frame.
    #[prost(bytes = "bytes", tag = "11")]
    Part(Bytes),
    /// The last part of a long frame.
    #[prost(bytes = "bytes", tag = "12")]
    LastPart(Bytes),
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
    /// From the far end: most calls of this near end that are in flight at a time.
    #[prost(uint32, tag = "4")]
    pub(crate) in_flight: u32,
}

/// A question for the description of one endpoint, or of all.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Describe {
    /// The endpoint, or 65535 for all.
    #[prost(uint32, tag = "1")]
    pub(crate) msg_type: u32,
    /// The version of the description that the near end knows, or 0.
    #[prost(fixed64, tag = "2")]
    pub(crate) version: u64,
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
    /// Encoded [`Metadata`]. Apart, because its length is checked before its entries are read.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) metadata: Bytes,
    /// The version of the description that the caller has compared itself with, or 0.
    #[prost(fixed64, tag = "5")]
    pub(crate) version: u64,
    /// Of an OPEN: bytes of the longest message that the near end takes.
    #[prost(uint64, tag = "6")]
    pub(crate) max_message: u64,
    /// The number of the caller at the near end.
    #[prost(uint64, tag = "7")]
    pub(crate) caller: u64,
}

/// The metadata of a call.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) entries: BTreeMap<String, String>,
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

    pub(crate) fn is_request(&self) -> bool {
        matches!(self.body, Some(Body::Request(_)))
    }
}

/// The frames of a message, read when they are taken: a message of the shortest frames takes a hundred times its length
/// as a list.
#[derive(Debug, Default)]
pub(crate) struct Frames(Bytes);

impl Frames {
    pub(crate) fn of(message: Bytes) -> Self {
        Self(message)
    }

    fn take(&mut self) -> Result<Option<Frame>, DecodeError> {
        while self.0.has_remaining() {
            let (tag, kind) = decode_key(&mut self.0)?;
            if (tag, kind) == (1, WireType::LengthDelimited) {
                return Frame::decode_length_delimited(&mut self.0).map(Some);
            }
            skip_field(kind, tag, &mut self.0, DecodeContext::default())?;
        }
        Ok(None)
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take();
        if taken.is_err() {
            self.0.clear();
        }
        taken.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_message() {
        let frames = vec![
            Frame::new(1, Body::Reply(vec![7; 300].into())),
            Frame::new(u64::MAX, Body::Cancel(true)),
            Frame { call: 2, body: None },
        ];
        let message = Batch { frames: frames.clone() }.encode_to_vec();
        assert_eq!(Frames::of(message.clone().into()).collect::<Result<Vec<_>, _>>().unwrap(), frames);
        // A field of a newer end is left out.
        let newer = [&[0x10, 5, 0x1a, 2, 1, 1][..], &message].concat();
        assert_eq!(Frames::of(newer.into()).collect::<Result<Vec<_>, _>>().unwrap(), frames);
    }

    #[test]
    fn the_first_error_is_the_last_item() {
        let message = Batch { frames: vec![Frame::new(1, Body::End(true)); 3] }.encode_to_vec();
        for length in 0..message.len() {
            let read: Vec<_> = Frames::of(message[..length].to_vec().into()).collect();
            let errors = read.iter().filter(|frame| frame.is_err()).count();
            assert_eq!(errors, usize::from(length % (message.len() / 3) != 0), "{length} bytes");
            assert!(errors == 0 || read[read.len() - 1].is_err());
        }
        for bytes in [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x0b; 1000], &[0xff; 20]] {
            assert!(Frames::of(bytes.to_vec().into()).last().unwrap().is_err());
        }
    }
}
