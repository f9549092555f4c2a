//! A message that no longer depends on the bus.

/// A received message with a payload of its own, safe to keep for as long as you like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's word for what this is; see [`make_type_id`](crate::type_id::make_type_id).
    pub type_id: u32,
    /// The payload.
    pub data: Vec<u8>,
}
