//! Values of the codec msgpack: any type of serde, encoded by `rmp-serde`.
//!
//! A request is a map from the names of the arguments to their values, a reply is the value. The cargo feature
//! `msgpack` has the codec; without it, generated code refuses to compile.

use core::marker::PhantomData;

use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::form::Form;
use super::malformed::{BoxedMalformed, Malformed};
use super::message::Message;
use super::scratch::Scratch;

/// A message in msgpack: a reply, or an item, of an endpoint with `codec = "msgpack"`. Its owned form is a `T`.
#[derive(Debug)]
pub struct Msgpack<T>(PhantomData<fn() -> T>);

impl<T: DeserializeOwned + 'static> Message for Msgpack<T> {
    /// The encoded value.
    type View<'a> = &'a [u8];
    type Owned = T;
    const FORM: Form = Form::Msgpack;
    const COPIES: bool = true;

    fn read<'a>(message: &'a [u8], scratch: &mut Scratch<'a>, place: &'static str) -> Result<&'a [u8], BoxedMalformed> {
        let held = hold(message, scratch, place)?;
        decode::<T>(held).map(|_| held).map_err(|text| Malformed::codec(place, text))
    }

    fn len(view: &[u8]) -> usize {
        view.len()
    }

    fn write(view: &[u8], out: &mut [u8]) {
        out.copy_from_slice(view);
    }

    fn bytes(view: Self::View<'_>) -> Option<&[u8]> {
        Some(view)
    }

    fn own(view: &[u8]) -> T {
        match decode(view) {
            Ok(value) => value,
            Err(text) => unreachable!("the reader has decoded these bytes: {text}"),
        }
    }

    fn read_owned<'a>(message: &'a [u8], scratch: &mut Scratch<'a>, place: &'static str) -> Result<T, BoxedMalformed> {
        let held = hold(message, scratch, place)?;
        decode(held).map_err(|text| Malformed::codec(place, text))
    }

    fn shrink<'s, 'l: 's>(view: &'l [u8]) -> &'s [u8] {
        view
    }
}

/// The arguments of a request, each not decoded yet.
#[derive(Debug)]
pub struct PackedArguments<'a>(Vec<(String, &'a [u8])>);

impl<'a> PackedArguments<'a> {
    /// Copies a request, and reads its map.
    ///
    /// # Errors
    /// [`Malformed`]: the request is no map from texts to values.
    pub fn open(message: &'a [u8], scratch: &mut Scratch<'a>, place: &'static str) -> Result<Self, BoxedMalformed> {
        let held = hold(message, scratch, place)?;
        entries(held).map(Self).map_err(|text| Malformed::codec(place, text))
    }

    /// The value of an argument. A missing argument is the value of nothing: `None` for an `Option`.
    ///
    /// # Errors
    /// [`Malformed`]: the argument is missing, or is no `T`.
    pub fn take<T: DeserializeOwned>(&self, name: &str, place: &'static str) -> Result<T, BoxedMalformed> {
        if let Some((_, bytes)) = self.0.iter().find(|(found, _)| found == name) {
            return decode(bytes).map_err(|text| Malformed::codec(place, text));
        }
        let nothing: serde::de::value::UnitDeserializer<serde::de::value::Error> = ().into_deserializer();
        T::deserialize(nothing).map_err(|_| Malformed::missing(place))
    }
}

/// A request under construction: a map from the names of arguments to their values.
#[derive(Debug)]
pub struct PackedRequest {
    bytes: Vec<u8>,
    /// The text of the first error.
    error: Option<String>,
}

impl PackedRequest {
    /// A request of `count` arguments.
    pub fn new(count: u8) -> Self {
        // A map of up to 15 entries, or of a number of entries in 16 bits.
        let bytes = if count < 16 { vec![0x80 | count] } else { vec![0xDE, 0, count] };
        Self { bytes, error: None }
    }

    /// Adds an argument.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let mut add = || {
            encode(&mut self.bytes, name)?;
            encode(&mut self.bytes, value)
        };
        if self.error.is_none() {
            self.error = add().err();
        }
    }

    /// The bytes of the request.
    ///
    /// # Errors
    /// The text of the codec: a value cannot be encoded.
    pub fn finish(self) -> Result<Vec<u8>, String> {
        match self.error {
            None => Ok(self.bytes),
            Some(text) => Err(text),
        }
    }
}

fn hold<'a>(message: &'a [u8], scratch: &mut Scratch<'a>, place: &str) -> Result<&'a [u8], BoxedMalformed> {
    scratch.hold(message).ok_or_else(|| BoxedMalformed::from(Malformed::Misaligned).at(place))
}

/// The encoded value.
///
/// # Errors
/// The text of the codec.
pub fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    encode(&mut bytes, value).map(|()| bytes)
}

/// Appends the encoded value.
///
/// # Errors
/// The text of the codec.
#[cfg(feature = "msgpack")]
fn encode<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), String> {
    rmp_serde::encode::write_named(out, value).map_err(|error| error.to_string())
}

/// Deepest nesting of a received value. Each level takes room on the stack of a thread that serves.
#[cfg(feature = "msgpack")]
const MAX_DEPTH: usize = 128;

/// The value of bytes that no peer can write to. No byte is left.
///
/// # Errors
/// The text of the codec.
#[cfg(feature = "msgpack")]
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut rest = std::io::Cursor::new(bytes);
    let value = decode_next(&mut rest)?;
    match bytes.len() as u64 - rest.position() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are behind the value")),
    }
}

#[cfg(feature = "msgpack")]
fn decode_next<T: DeserializeOwned>(bytes: &mut std::io::Cursor<&[u8]>) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

/// The entries of a map, in order.
#[cfg(feature = "msgpack")]
fn entries(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    let (count, begin) = match bytes {
        [fixed @ 0x80..=0x8F, ..] => (usize::from(fixed & 0x0F), 1),
        [0xDE, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 3),
        [0xDF, a, b, c, d, ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, 5),
        _ => return Err("the arguments are no map".to_owned()),
    };
    let mut rest = std::io::Cursor::new(bytes);
    rest.set_position(begin);
    let mut entries = Vec::new();
    for _ in 0..count {
        let name = decode_next(&mut rest)?;
        let from = rest.position();
        decode_next::<serde::de::IgnoredAny>(&mut rest)?;
        // Both positions are in the slice.
        #[allow(clippy::cast_possible_truncation, reason = "positions in a slice")]
        entries.push((name, &bytes[from as usize..rest.position() as usize]));
    }
    match bytes.len() as u64 - rest.position() {
        0 => Ok(entries),
        left => Err(format!("{left} bytes are behind the arguments")),
    }
}

/// Generated code asserts the feature, and never gets here.
#[cfg(not(feature = "msgpack"))]
mod without {
    use super::{DeserializeOwned, Serialize};

    const WITHOUT: &str = "generated code asserts the feature `msgpack`";

    pub(super) fn encode<T: Serialize + ?Sized>(_out: &mut Vec<u8>, _value: &T) -> Result<(), String> {
        Err(WITHOUT.to_owned())
    }

    pub(super) fn decode<T: DeserializeOwned>(_bytes: &[u8]) -> Result<T, String> {
        Err(WITHOUT.to_owned())
    }

    pub(super) fn entries(_bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
        Err(WITHOUT.to_owned())
    }
}

#[cfg(not(feature = "msgpack"))]
use without::{decode, encode, entries};

#[cfg(all(test, feature = "msgpack"))]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::schema::payload::Words;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Shape {
        Circle { radius: f64 },
        Polygon { points: Vec<(f64, f64)>, name: Option<String> },
    }

    fn shapes() -> BTreeMap<String, Shape> {
        let polygon = Shape::Polygon { points: vec![(0.0, 1.0)], name: None };
        [("a".to_owned(), Shape::Circle { radius: 0.5 }), ("b".to_owned(), polygon)].into()
    }

    fn open(bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut words = Words::default();
        let found = PackedArguments::open(bytes, &mut words.room(bytes.len()), "f");
        found.map(|found| found.0.into_iter().map(|(name, _)| name).collect()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_request_is_a_map_from_names_to_values() {
        let mut request = PackedRequest::new(2);
        request.put("shapes", &shapes());
        request.put("gain", &7_u8);
        let bytes = request.finish().unwrap();
        let mut words = Words::default();
        let found = PackedArguments::open(&bytes, &mut words.room(bytes.len()), "f").unwrap();
        assert_eq!(found.take("shapes", ""), Ok(shapes()));
        assert_eq!(found.take("gain", ""), Ok(7_u64));
        assert_eq!(found.take::<Option<String>>("note", ""), Ok(None));
        let missing = found.take::<String>("note", "argument `note` of f").unwrap_err().to_string();
        assert!(missing.starts_with("argument `note` of f is missing"), "{missing}");
        let wrong = found.take::<String>("gain", "argument `gain` of f").unwrap_err().to_string();
        assert!(wrong.starts_with("argument `gain` of f: invalid type: integer `7`"), "{wrong}");
        let many: Vec<String> = (0..32).map(|at| format!("a{at}")).collect();
        let mut request = PackedRequest::new(32);
        for name in &many {
            request.put(name, &());
        }
        assert_eq!(open(&request.finish().unwrap()), Ok(many));
    }

    #[test]
    fn what_is_no_map_of_arguments_is_refused() {
        for (bytes, text) in [
            (&[][..], "f: the arguments are no map"),
            (&[0x90], "f: the arguments are no map"),
            (&[0xDF, 0xFF, 0xFF, 0xFF, 0xFF], "f: "),
            (&[0x81, 0xA1, b'a'], "f: "),
            (&[0x81, 0x01, 0x01], "f: "),
            (&[0x80, 0x00], "f: 1 bytes are behind the arguments"),
        ] {
            let refused = open(bytes).unwrap_err();
            assert!(refused.starts_with(text), "{refused} is not {text}");
        }
        assert_eq!(open(&[0x80]), Ok(vec![]));
    }

    #[test]
    fn corrupted_requests_are_refused_or_other_requests() {
        let mut request = PackedRequest::new(3);
        request.put("shapes", &shapes());
        request.put("gain", &0.5);
        request.put("names", &["a", "gr\u{fc}n"]);
        let right = request.finish().unwrap();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut next = move || {
            // xorshift64: the same inputs in every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[7]
        };
        for _ in 0..20_000 {
            let mut bytes = right.clone();
            for _ in 0..=next() & 3 {
                let at = usize::from(next()) % bytes.len();
                bytes[at] = next();
            }
            bytes.truncate(usize::from(next()).max(1));
            let mut words = Words::default();
            let Ok(found) = PackedArguments::open(&bytes, &mut words.room(bytes.len()), "f") else { continue };
            drop(found.take::<BTreeMap<String, Shape>>("shapes", ""));
            drop(found.take::<f64>("gain", ""));
            drop(found.take::<Option<Vec<String>>>("names", ""));
        }
    }

    #[test]
    fn a_reply_is_read_whole() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &shapes()).unwrap();
        let read = |bytes: &[u8]| {
            let mut words = Words::default();
            Msgpack::<BTreeMap<String, Shape>>::read_owned(bytes, &mut words.room(bytes.len()), "the reply")
        };
        assert_eq!(read(&bytes), Ok(shapes()));
        bytes.push(0xC0);
        assert_eq!(read(&bytes).unwrap_err().to_string(), "the reply: 1 bytes are behind the value");
        for cut in 0..bytes.len() - 1 {
            assert!(read(&bytes[..cut]).is_err());
        }
        // Nested far deeper than any stack.
        let nested = [vec![0x91; 100_000], vec![0xC0]].concat();
        assert!(decode::<serde::de::IgnoredAny>(&nested).is_err());
    }
}
