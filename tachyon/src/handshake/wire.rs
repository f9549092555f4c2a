//! The bytes of the handshake, and their rules.
//!
//! Every message begins with eight bytes: magic, version, tag, zero. This prefix and the whole `Reject` are the same in
//! all versions, so that two versions can report their mismatch. Numbers are little-endian, reserved bytes are zero,
//! and every message has one exact length. Readers copy and check a message before they use it; each broken rule is its
//! own variant of [`ProtocolError`].

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Kind, Offer, ProtocolError, Role};
use crate::ring::Geometry;

/// The version of this handshake and of the shared memory behind it.
pub(crate) const PROTOCOL_VERSION: u16 = 2;

const MAGIC: [u8; 4] = *b"TCHY";

/// Room for any message of this version, and one byte more to notice a longer message.
pub(super) const BUFFER_LEN: usize = size_of::<RejectBytes>() + 1;

/// Longest text of a `Reject` in bytes.
const TEXT_LEN: usize = 120;

/// Most rings of one connection.
const MAX_RINGS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    Hello = 1,
    Welcome = 2,
    Reject = 3,
    Ready = 4,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Prefix {
    magic: [u8; 4],
    version: U16,
    tag: u8,
    reserved: u8,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HelloBytes {
    prefix: Prefix,
    kind: u8,
    role: u8,
    /// For each ring, one plus the base-2 logarithm of the wished capacity; 0 for no wish.
    wishes: [u8; MAX_RINGS],
    /// 1 for a probe, which takes no place at a listener for one peer; 0 otherwise.
    probe: u8,
    reserved: [u8; 3],
    time_namespace: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RingBytes {
    capacity: U64,
    segment_len: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WelcomeBytes {
    prefix: Prefix,
    kind: u8,
    role: u8,
    rings: u8,
    reserved: [u8; 5],
    geometry: [RingBytes; MAX_RINGS],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RejectBytes {
    prefix: Prefix,
    code: u8,
    /// The listener's kind or role, if the code is about it.
    detail: u8,
    text_len: u8,
    reserved: [u8; 5],
    text: [u8; TEXT_LEN],
}

/// A connector's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    /// Whether the connector is a probe.
    pub(crate) probe: bool,
    /// The wished capacities. A listener for one peer ignores them.
    pub(crate) wishes: Wishes,
    /// The time namespace of this process; 0 if the system does not say.
    pub(crate) time_namespace: u64,
}

/// The wished capacity of each ring; `None` for no wish.
pub(crate) type Wishes = [Option<Geometry>; MAX_RINGS];

/// A listener's grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Welcome {
    /// The listener's role, agreed with the connector's request.
    pub(super) role: Role,
    pub(super) geometries: Vec<Geometry>,
}

/// The reason of a reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Other = 0,
    WrongKind = 1,
    Version = 2,
    RoleClash = 3,
    NotAllowed = 4,
    Busy = 5,
    OtherTimeNamespace = 6,
    OnePeer = 7,
}

/// A listener's reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reject {
    pub(super) version: u16,
    pub(super) code: Code,
    pub(super) detail: u8,
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Welcome(Welcome),
    Reject(Reject),
}

impl Kind {
    pub(super) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Bus),
            2 => Some(Self::Rpc),
            _ => None,
        }
    }
}

impl Role {
    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Either),
            1 => Some(Self::Source),
            2 => Some(Self::Sink),
            _ => None,
        }
    }
}

impl Prefix {
    fn new(tag: Tag) -> Self {
        Self { magic: MAGIC, version: U16::new(PROTOCOL_VERSION), tag: tag as u8, reserved: 0 }
    }

    /// The prefix of a message that may be of any version.
    fn read(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let Ok((prefix, _)) = Self::read_from_prefix(bytes) else {
            return Err(ProtocolError::Length { expected: size_of::<Self>(), found: bytes.len() });
        };
        if prefix.magic != MAGIC {
            return Err(ProtocolError::Magic { found: prefix.magic });
        }
        Ok(prefix)
    }

    /// Checks the version and the tag.
    fn check(self, tag: Tag) -> Result<(), ProtocolError> {
        let theirs = self.version.get();
        if theirs != PROTOCOL_VERSION {
            return Err(ProtocolError::Version { ours: PROTOCOL_VERSION, theirs });
        }
        if self.tag != tag as u8 {
            return Err(ProtocolError::Tag { expected: tag as u8, found: self.tag });
        }
        check_zero(&[self.reserved])
    }
}

pub(crate) fn write_hello(hello: Hello) -> [u8; size_of::<HelloBytes>()] {
    let Hello { kind, role, probe, wishes, time_namespace } = hello;
    zerocopy::transmute!(HelloBytes {
        prefix: Prefix::new(Tag::Hello),
        kind: kind as u8,
        role: role as u8,
        wishes: wishes.map(|wish| wish.map_or(0, |geometry| geometry.exponent() + 1)),
        probe: probe.into(),
        reserved: [0; 3],
        time_namespace: U64::new(time_namespace),
    })
}

pub(super) fn read_hello(bytes: &[u8]) -> Result<Hello, ProtocolError> {
    Prefix::read(bytes)?.check(Tag::Hello)?;
    let hello: HelloBytes = exactly(bytes)?;
    check_zero(&[hello.probe & !1])?;
    check_zero(&hello.reserved)?;
    let [forward, reverse] = hello.wishes;
    let kind = kind(hello.kind)?;
    Ok(Hello {
        kind,
        role: role(hello.role)?,
        probe: hello.probe == 1,
        wishes: [wish(forward, kind)?, wish(reverse, kind)?],
        time_namespace: hello.time_namespace.get(),
    })
}

/// Reads a wished capacity: one plus its base-2 logarithm, or 0.
fn wish(byte: u8, kind: Kind) -> Result<Option<Geometry>, ProtocolError> {
    let Some(exponent) = byte.checked_sub(1) else { return Ok(None) };
    let capacity = 1usize.checked_shl(exponent.into()).unwrap_or(0);
    Ok(Some(Geometry::new(capacity, kind.carries())?))
}

/// The listener's `Welcome` for `offer`, which has at most [`MAX_RINGS`] rings, with the listener's agreed role.
pub(crate) fn write_welcome(offer: &Offer, agreed: Role) -> [u8; size_of::<WelcomeBytes>()] {
    let none = RingBytes { capacity: U64::ZERO, segment_len: U64::ZERO };
    let mut geometry = [none; MAX_RINGS];
    for (to, from) in geometry.iter_mut().zip(&offer.geometries) {
        to.capacity = U64::new(from.capacity() as u64);
        to.segment_len = U64::new(from.segment_len() as u64);
    }
    zerocopy::transmute!(WelcomeBytes {
        prefix: Prefix::new(Tag::Welcome),
        kind: offer.kind as u8,
        role: agreed as u8,
        rings: u8::try_from(offer.geometries.len()).unwrap_or(u8::MAX),
        reserved: [0; 5],
        geometry,
    })
}

/// A reject; a long text is cut.
pub(crate) fn write_reject(code: Code, detail: u8, text: &str) -> [u8; size_of::<RejectBytes>()] {
    let cut = &text.as_bytes()[..text.floor_char_boundary(TEXT_LEN)];
    let mut field = [0; TEXT_LEN];
    field[..cut.len()].copy_from_slice(cut);
    zerocopy::transmute!(RejectBytes {
        prefix: Prefix::new(Tag::Reject),
        code: code as u8,
        detail,
        text_len: u8::try_from(cut.len()).unwrap_or(u8::MAX),
        reserved: [0; 5],
        text: field,
    })
}

/// Reads the listener's answer to a hello of `asked`.
pub(super) fn read_answer(bytes: &[u8], asked: Kind) -> Result<Answer, ProtocolError> {
    let prefix = Prefix::read(bytes)?;
    if prefix.tag == Tag::Reject as u8 {
        return read_reject(bytes).map(Answer::Reject);
    }
    prefix.check(Tag::Welcome)?;
    read_welcome(bytes, asked).map(Answer::Welcome)
}

fn read_welcome(bytes: &[u8], asked: Kind) -> Result<Welcome, ProtocolError> {
    let welcome: WelcomeBytes = exactly(bytes)?;
    check_zero(&welcome.reserved)?;
    if kind(welcome.kind)? != asked {
        return Err(ProtocolError::Kind { found: welcome.kind });
    }
    let rings = usize::from(welcome.rings);
    if rings != asked.rings() {
        return Err(ProtocolError::RingCount { expected: asked.rings(), found: rings });
    }
    let (used, unused) = welcome.geometry.split_at(rings);
    check_zero(unused.as_bytes())?;
    let geometries = used.iter().map(|ring| ring.read(asked)).collect::<Result<_, _>>()?;
    Ok(Welcome { role: role(welcome.role)?, geometries })
}

impl RingBytes {
    fn read(self, kind: Kind) -> Result<Geometry, ProtocolError> {
        let geometry = Geometry::new(usize::try_from(self.capacity.get()).unwrap_or(usize::MAX), kind.carries())?;
        let (stated, expected) = (self.segment_len.get(), geometry.segment_len());
        if usize::try_from(stated) != Ok(expected) {
            return Err(ProtocolError::SegmentLength { expected, stated });
        }
        Ok(geometry)
    }
}

/// Does not check reserved bytes: a reject of another version may use them.
fn read_reject(bytes: &[u8]) -> Result<Reject, ProtocolError> {
    let reject: RejectBytes = exactly(bytes)?;
    let len = usize::from(reject.text_len).min(TEXT_LEN);
    let code = match reject.code {
        1 => Code::WrongKind,
        2 => Code::Version,
        3 => Code::RoleClash,
        4 => Code::NotAllowed,
        5 => Code::Busy,
        6 => Code::OtherTimeNamespace,
        7 => Code::OnePeer,
        _ => Code::Other,
    };
    // The text is shown in terminals and logs, which a peer's control characters could disturb.
    let text = String::from_utf8_lossy(&reject.text[..len]).replace(char::is_control, "\u{fffd}");
    Ok(Reject { version: reject.prefix.version.get(), code, detail: reject.detail, text })
}

pub(crate) fn write_ready() -> [u8; size_of::<Prefix>()] {
    zerocopy::transmute!(Prefix::new(Tag::Ready))
}

pub(super) fn read_ready(bytes: &[u8]) -> Result<(), ProtocolError> {
    Prefix::read(bytes)?.check(Tag::Ready)?;
    exactly::<Prefix>(bytes).map(drop)
}

fn exactly<T: FromBytes>(bytes: &[u8]) -> Result<T, ProtocolError> {
    T::read_from_bytes(bytes).map_err(|_| ProtocolError::Length { expected: size_of::<T>(), found: bytes.len() })
}

fn check_zero(reserved: &[u8]) -> Result<(), ProtocolError> {
    if reserved.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(ProtocolError::Reserved) }
}

fn kind(found: u8) -> Result<Kind, ProtocolError> {
    Kind::from_wire(found).ok_or(ProtocolError::Kind { found })
}

fn role(found: u8) -> Result<Role, ProtocolError> {
    Role::from_wire(found).ok_or(ProtocolError::Role { found })
}

#[cfg(test)]
mod tests;
