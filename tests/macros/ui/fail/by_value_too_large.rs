//! Values that are passed by value lie on the stack of the serving thread: their size has a limit.

const LEN: usize = 65_536;

#[tachyon::payload]
struct Frame {
    pixels: [u8; LEN],
    number: u64,
}

#[tachyon::tachyon_rpc(msg_type = 1)]
fn structure(frame: Frame) -> u64 {
    frame.number
}

#[tachyon::tachyon_rpc(msg_type = 2)]
fn array(pixels: [u8; 65_537]) -> u8 {
    pixels[0]
}

#[tachyon::tachyon_rpc(msg_type = 3)]
fn optional(frame: Option<Frame>) -> bool {
    frame.is_some()
}

#[tachyon::tachyon_rpc(msg_type = 4)]
fn reply(number: u64) -> Frame {
    Frame { pixels: [0; LEN], number }
}

#[tachyon::tachyon_rpc(msg_type = 5)]
fn fallible(number: u64) -> Result<Frame, String> {
    Ok(Frame { pixels: [0; LEN], number })
}

#[tachyon::tachyon_rpc(msg_type = 6)]
fn array_reply(number: u8) -> [u8; 65_537] {
    [number; 65_537]
}

#[tachyon::tachyon_rpc(msg_type = 7)]
fn slot(number: u64, reply: tachyon::dispatch::ReplySlot<'_, Frame>) -> Result<(), tachyon::dispatch::SlotError> {
    reply.write(&Frame { pixels: [0; LEN], number })
}

#[tachyon::tachyon_rpc(msg_type = 8)]
fn array_slot(reply: tachyon::dispatch::ReplySlot<'_, [u8; 65_537]>) -> Result<(), tachyon::dispatch::SlotError> {
    reply.write(&[0; 65_537])
}

#[tachyon::payload]
struct Shot {
    name: String,
    frame: Option<Frame>,
}

#[tachyon::tachyon_rpc(msg_type = 9)]
fn nested(shot: ShotRef<'_>) -> u64 {
    shot.name.len() as u64
}

fn main() {}
