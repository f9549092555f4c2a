//! A copied message.

/// A received message with a copy of its payload, independent of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The message's type id, which the sender chose; any number.
    pub type_id: u32,
    /// The payload.
    pub data: Vec<u8>,
}
