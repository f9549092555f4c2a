//! A dispatcher's answers to control requests.

use super::table::Table;
use crate::bus::{Incoming, Outgoing};
use crate::describe::{Description, Operation, Query, WHOLE_TABLE, chunk};
use crate::error::Unsent;
use crate::ring::Frame;
use crate::rpc::{ErrorKind, answer_ping, send_error};
use crate::slice;
use crate::type_id::msg_type;
use crate::wait::Deadline;

/// The description that is being asked for, chunk by chunk. It is made at its first chunk and kept for the others.
#[derive(Debug, Default)]
pub(super) struct Described {
    msg_type: u16,
    json: String,
}

/// All endpoints of a table, or one.
pub(super) fn describe<S: ?Sized>(table: &Table<S>, msg_type: u16) -> Description {
    let asked = |(found, _): &(u16, _)| msg_type == WHOLE_TABLE || *found == msg_type;
    Description::new(table.iter().filter(asked).map(|(_, registered)| registered.description().clone()).collect())
}

/// Answers a control request.
#[cold]
pub(super) fn answer<S: ?Sized>(
    table: &Table<S>,
    described: &mut Described,
    incoming: &Incoming,
    outgoing: &mut Outgoing,
    frame: &Frame,
) -> Result<(), Unsent> {
    let operation = msg_type(frame.type_id);
    let refuse = |outgoing: &mut Outgoing, kind| send_error(outgoing, frame.correlation_id, operation, kind, "");
    match Operation::of(operation) {
        Some(Operation::Ping) => answer_ping(outgoing, frame),
        Some(Operation::Describe) => {
            let Some(query) = Query::decode(slice::payload(frame, incoming)) else {
                return refuse(outgoing, ErrorKind::BadRequest);
            };
            if query.offset == 0 || query.msg_type != described.msg_type {
                let json = describe(table, query.msg_type).to_json();
                *described = Described { msg_type: query.msg_type, json };
            }
            match chunk(described.json.as_bytes(), query.offset, outgoing.max_len()) {
                Some(chunk) => outgoing.send(&chunk, frame.type_id, frame.correlation_id, Deadline::never()),
                None => refuse(outgoing, ErrorKind::ReplyTooLarge),
            }
        }
        None => refuse(outgoing, ErrorKind::NoHandler),
    }
}
