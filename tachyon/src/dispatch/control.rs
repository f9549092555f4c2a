//! Control requests that reach a dispatcher.

use super::desk::Desk;
use super::table::Table;
use crate::connection::Unsent;
use crate::connection::slice;
use crate::connection::{Rx, Tx};
use crate::engine::{ErrorKind, is_cancel};
use crate::ring::{Frame, MessageHeader};
use crate::rpc::{control_reply, refusal};
use crate::schema::describe::{Description, Operation, Query, WHOLE_TABLE, chunk};
use crate::type_id::msg_type;

/// All endpoints of a table, or one.
pub(super) fn describe<S: ?Sized>(table: &Table<S>, msg_type: u16) -> Description {
    let asked = |(found, _): &(u16, _)| msg_type == WHOLE_TABLE || *found == msg_type;
    Description::new(table.iter().filter(asked).map(|(_, registered)| registered.description().clone()).collect())
}

/// Answers a control request. Its caller is a tool or another end's health check: neither layers nor counts see it.
#[cold]
pub(super) fn answer<S: ?Sized>(desk: &Desk<S>, rx: &Rx, tx: &mut Tx, frame: &Frame) -> Result<(), Unsent> {
    if is_cancel(frame) {
        return Ok(());
    }
    let max_len = tx.max_len();
    let (type_id, payload) = match Operation::of(msg_type(frame.type_id)) {
        Some(Operation::Describe) => match piece(desk, slice::payload(frame, rx), max_len) {
            Ok(piece) => (frame.type_id, piece),
            Err(kind) => refusal(frame, kind, max_len),
        },
        _ => control_reply(frame, max_len),
    };
    tx.send_reply(&payload, MessageHeader::new(type_id, frame.correlation_id))
}

/// The piece of the description that is asked for. The whole table's is made once, since it may have many pieces; one
/// endpoint's is made anew for each.
fn piece<S: ?Sized>(desk: &Desk<S>, query: &[u8], max_len: usize) -> Result<Vec<u8>, ErrorKind> {
    let query = Query::decode(query).ok_or(ErrorKind::BadRequest)?;
    let endpoint;
    let json = if query.msg_type == WHOLE_TABLE {
        desk.described.get_or_init(|| describe(&desk.table, WHOLE_TABLE).to_json())
    } else {
        endpoint = describe(&desk.table, query.msg_type).to_json();
        &endpoint
    };
    chunk(json.as_bytes(), query.offset, max_len).ok_or(ErrorKind::ReplyTooLarge)
}
