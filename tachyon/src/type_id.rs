//! Type identifiers: a route and a message type in one 32-bit word.
//!
//! Bits 31..16 are the route, bits 15..0 the message type. On a bus both belong to the user. In RPC, route 0 means a
//! call or its reply; the other routes mean control requests, cancellations, and the kind of an error reply.

/// The message type of an error reply. No endpoint may use it.
pub const MSG_TYPE_ERROR: u16 = 0xFFFF;

/// The route of control requests, such as ping and describe. The callee itself answers them, without a handler.
pub const ROUTE_CONTROL: u16 = 1;

/// The route of a CANCEL: a message that cancels the call with its correlation id, has no payload and gets no reply.
pub const ROUTE_CANCEL: u16 = 2;

/// The route of a stream's item, in both directions.
pub const ROUTE_ITEM: u16 = 3;

/// The route of a stream's END, in both directions: its sender sends no further item.
pub const ROUTE_END: u16 = 4;

/// The first of the 32 routes of OPEN: a request that opens a stream. The difference to it is the stream's credit cell.
pub const ROUTE_OPEN: u16 = 0x0100;

/// Joins a route and a message type into a type identifier.
///
/// ```
/// assert_eq!(tachyon::type_id::make_type_id(0, 42), 42);
/// assert_eq!(tachyon::type_id::make_type_id(1, 2), 0x0001_0002);
/// ```
pub const fn make_type_id(route: u16, msg_type: u16) -> u32 {
    ((route as u32) << 16) | msg_type as u32
}

/// The route of a type identifier: its upper 16 bits.
///
/// ```
/// assert_eq!(tachyon::type_id::route_id(0x0001_0002), 1);
/// ```
pub const fn route_id(type_id: u32) -> u16 {
    (type_id >> 16) as u16
}

/// The message type of a type identifier: its lower 16 bits.
///
/// ```
/// assert_eq!(tachyon::type_id::msg_type(0x0001_0002), 2);
/// ```
pub const fn msg_type(type_id: u32) -> u16 {
    (type_id & 0xFFFF) as u16
}
