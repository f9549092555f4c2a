//! Sender and receiver of a one-way bus.

use tachyon::{Receiver, RecvError, Sender};
use tachyon_tests::chaos::ledger::Word;
use tachyon_tests::chaos::order::Order;

use super::Outcome;
use super::scene::{End, Scene, Unconnected};

pub(crate) fn send(order: &Order) -> Outcome {
    let mut scene = Scene::new(order)?;
    scene.fate.pass("handshake", 0);
    let connected = if scene.listens {
        Sender::listen_with(&scene.path, scene.capacities.0, &scene.options).map_err(|error| error.unconnected())
    } else {
        Sender::connect_with(&scene.path, &scene.options).map_err(|error| error.unconnected())
    };
    let mut sender = match connected {
        Ok(sender) => sender,
        Err(answer) => return Ok(answer),
    };
    scene.begin()?;
    let (mut sent, mut end) = (0, "finished".to_owned());
    while sent < scene.count {
        scene.fate.pass("before", sent);
        scene.fate.note(Word::Started, sent + 1);
        let outcome = send_one(&mut scene, &mut sender, sent);
        if let Err(error) = outcome {
            end = error.end();
            break;
        }
        sent += 1;
        scene.fate.pass("committed", sent - 1);
        scene.fate.note(Word::Committed, sent);
        scene.rest();
    }
    let answer = scene.ended(&end).with("sent", sent);
    drop(sender);
    Ok(answer)
}

fn send_one(scene: &mut Scene, sender: &mut Sender, number: u64) -> Result<(), tachyon::SendError> {
    let stream = scene.stream;
    let type_id = u32::try_from(number % 1000).unwrap_or_default();
    let len = stream.len_of(number);
    if scene.form == "place" {
        scene.asks();
        let mut slot = sender.reserve(len, 0)?;
        // What lies there is as good a filling as any.
        stream.write(number, &mut slot);
        scene.fate.pass("reserved", number);
        slot.set_type_id(type_id);
        slot.commit(len).map_err(|_| tachyon::SendError::Forked)?;
    } else {
        let message = stream.message(number, &mut scene.chance);
        scene.asks();
        sender.send(&message, type_id)?;
    }
    scene.bytes += len as u64;
    Ok(())
}

pub(crate) fn receive(order: &Order) -> Outcome {
    let mut scene = Scene::new(order)?;
    scene.fate.pass("handshake", 0);
    let connected = if scene.listens {
        Receiver::listen_with(&scene.path, scene.capacities.0, &scene.options).map_err(|error| error.unconnected())
    } else {
        Receiver::connect_with(&scene.path, &scene.options).map_err(|error| error.unconnected())
    };
    let mut receiver = match connected {
        Ok(receiver) => receiver,
        Err(answer) => return Ok(answer),
    };
    scene.begin()?;
    let mut taken = 0;
    let end = loop {
        if taken >= scene.count {
            break "finished".to_owned();
        }
        scene.asks();
        match receive_some(&mut scene, &mut receiver, taken) {
            Ok(now) => taken = now,
            Err(Trouble::End(error)) => break error.end(),
            Err(Trouble::Wrong(what)) => return Err(what.into()),
        }
        scene.fate.note(Word::Taken, taken);
        scene.fate.pass("released", taken - 1);
        scene.rest();
    };
    let answer = scene.ended(&end).with("taken", taken);
    drop(receiver);
    Ok(answer)
}

enum Trouble {
    End(RecvError),
    Wrong(String),
}

impl From<RecvError> for Trouble {
    fn from(error: RecvError) -> Self {
        Self::End(error)
    }
}

/// Takes one message, or a batch of them, and gives how many were taken in all.
fn receive_some(scene: &mut Scene, receiver: &mut Receiver, taken: u64) -> Result<u64, Trouble> {
    match scene.form.as_str() {
        "batch" => {
            let batch = receiver.recv_batch(16)?;
            let mut now = taken;
            for view in &batch {
                check(scene, now, &view, view.type_id())?;
                scene.fate.pass("taken", now);
                now += 1;
            }
            Ok(now)
        }
        "iterate" => match receiver.messages().next() {
            None => Err(RecvError::Closed.into()),
            Some(message) => {
                let message = message?;
                check(scene, taken, &message.data, message.type_id)?;
                scene.fate.pass("taken", taken);
                Ok(taken + 1)
            }
        },
        _ => {
            let guard = receiver.recv()?;
            check(scene, taken, &guard, guard.type_id())?;
            scene.fate.pass("taken", taken);
            Ok(taken + 1)
        }
    }
}

fn check(scene: &mut Scene, number: u64, message: &[u8], type_id: u32) -> Result<(), Trouble> {
    scene.bytes += message.len() as u64;
    let checked = scene.stream.check(number, message);
    if u64::from(type_id) != number % 1000 {
        return Err(Trouble::Wrong(format!("message {number} came with type {type_id}")));
    }
    checked.map_err(|wrong| Trouble::Wrong(format!("message {number}: {wrong}")))
}
