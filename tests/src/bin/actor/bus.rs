//! Sender and receiver of a one-way bus.

use tachyon::{Receiver, RecvError, Sender};
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::Field;

use super::Outcome;
use super::role::{End, Role, Unconnected};

pub(crate) fn send(order: &Order) -> Outcome {
    let mut role = Role::new(order)?;
    role.progress.pass("handshake", 0);
    let connected = if role.listens {
        Sender::listen_with(&role.path, role.capacities.0, &role.options).map_err(|error| error.unconnected())
    } else {
        Sender::connect_with(&role.path, &role.options).map_err(|error| error.unconnected())
    };
    let mut sender = match connected {
        Ok(sender) => sender,
        Err(answer) => return Ok(answer),
    };
    role.begin()?;
    let (mut sent, mut end) = (0, "finished".to_owned());
    while sent < role.count {
        role.progress.pass("before", sent);
        role.progress.note(Field::Started, sent + 1);
        let outcome = send_one(&mut role, &mut sender, sent);
        if let Err(error) = outcome {
            end = error.end();
            break;
        }
        sent += 1;
        role.progress.pass("committed", sent - 1);
        role.progress.note(Field::Committed, sent);
        role.maybe_pause();
    }
    let answer = role.ended(&end).with("sent", sent);
    drop(sender);
    Ok(answer)
}

fn send_one(role: &mut Role, sender: &mut Sender, number: u64) -> Result<(), tachyon::SendError> {
    let stream = role.stream;
    let type_id = u32::try_from(number % 1000).unwrap_or_default();
    let len = stream.len_of(number);
    if role.form == "place" {
        role.mark_operation();
        let mut slot = sender.reserve(len, 0)?;
        // The bytes of the slot fill the message.
        stream.write(number, &mut slot);
        role.progress.pass("reserved", number);
        slot.set_type_id(type_id);
        slot.commit(len).map_err(|_| tachyon::SendError::Forked)?;
    } else {
        let message = stream.message(number, &mut role.chance);
        role.mark_operation();
        sender.send(&message, type_id)?;
    }
    role.bytes += len as u64;
    Ok(())
}

pub(crate) fn receive(order: &Order) -> Outcome {
    let mut role = Role::new(order)?;
    role.progress.pass("handshake", 0);
    let connected = if role.listens {
        Receiver::listen_with(&role.path, role.capacities.0, &role.options).map_err(|error| error.unconnected())
    } else {
        Receiver::connect_with(&role.path, &role.options).map_err(|error| error.unconnected())
    };
    let mut receiver = match connected {
        Ok(receiver) => receiver,
        Err(answer) => return Ok(answer),
    };
    role.begin()?;
    let mut taken = 0;
    let end = loop {
        if taken >= role.count {
            break "finished".to_owned();
        }
        role.mark_operation();
        match receive_some(&mut role, &mut receiver, taken) {
            Ok(now) => taken = now,
            Err(Failure::End(error)) => break error.end(),
            Err(Failure::Wrong(what)) => return Err(what.into()),
        }
        role.progress.note(Field::Taken, taken);
        role.progress.pass("released", taken - 1);
        role.maybe_pause();
    };
    let answer = role.ended(&end).with("taken", taken);
    drop(receiver);
    Ok(answer)
}

enum Failure {
    End(RecvError),
    Wrong(String),
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Self {
        Self::End(error)
    }
}

/// Takes one message, or a batch of them, and gives how many were taken in all.
fn receive_some(role: &mut Role, receiver: &mut Receiver, taken: u64) -> Result<u64, Failure> {
    match role.form.as_str() {
        "batch" => {
            let batch = receiver.recv_batch(16)?;
            let mut now = taken;
            for view in &batch {
                check(role, now, &view, view.type_id())?;
                role.progress.pass("taken", now);
                now += 1;
            }
            Ok(now)
        }
        "iterate" => match receiver.messages().next() {
            None => Err(RecvError::Closed.into()),
            Some(message) => {
                let message = message?;
                check(role, taken, &message.data, message.type_id)?;
                role.progress.pass("taken", taken);
                Ok(taken + 1)
            }
        },
        _ => {
            let guard = receiver.recv()?;
            check(role, taken, &guard, guard.type_id())?;
            role.progress.pass("taken", taken);
            Ok(taken + 1)
        }
    }
}

fn check(role: &mut Role, number: u64, message: &[u8], type_id: u32) -> Result<(), Failure> {
    role.bytes += message.len() as u64;
    let checked = role.stream.check(number, message);
    if u64::from(type_id) != number % 1000 {
        return Err(Failure::Wrong(format!("message {number} came with type {type_id}")));
    }
    checked.map_err(|wrong| Failure::Wrong(format!("message {number}: {wrong}")))
}
