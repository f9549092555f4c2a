//! The iterator of a stream owns what it needs. The borrow checker reports the borrow.
use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').map(str::to_owned)
}

#[tachyon_rpc(msg_type = 2)]
fn of_state(#[state] state: &Vec<u32>) -> Result<impl Iterator<Item = u32>, String> {
    Ok(state.iter().copied())
}

fn main() {}
