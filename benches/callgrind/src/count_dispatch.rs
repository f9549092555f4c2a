//! What callgrind counts: one dispatcher of as many endpoints as the first argument says, serving as many requests as
//! the second. `dispatch.sh` runs it and compares.
//!
//! Caller and callee are one thread, so that every request is there when the callee looks, and nothing is counted that
//! depends on when the other side runs.

#![allow(clippy::similar_names, reason = "there are a caller and a callee")]

use std::error::Error;
use std::thread;

use tachyon::{Callee, Caller, Dispatcher, Entry};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(table_len), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: count_dispatch ENDPOINTS REQUESTS".into());
    };
    let (table_len, count): (u16, u32) = (table_len.parse()?, count.parse()?);

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("count.sock");
    let listen_at = path.clone();
    let callee = thread::spawn(move || Callee::listen(listen_at, 1 << 16, 1 << 16));
    let mut caller = Caller::connect(&path)?;
    let mut callee = callee.join().map_err(|_| "the listening thread panicked")??;

    let table: Vec<Entry<()>> = (0..table_len)
        .map(|msg_type| Entry::shared(msg_type, "echo", "", |(), request, reply| reply.bytes(request.payload())))
        .collect();
    let mut dispatcher = Dispatcher::new(&table);
    for number in 0..count {
        // All of them in turn; a step that is prime to the number spreads them over the table's pages.
        let msg_type = u16::try_from(number.wrapping_mul(389) % u32::from(table_len))?;
        let call = caller.call(msg_type, &number.to_le_bytes())?;
        serve(&mut dispatcher, &mut callee)?;
        drop(caller.wait(call)?);
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn serve(dispatcher: &mut Dispatcher, callee: &mut Callee) -> Result<(), tachyon::ServeError> {
    dispatcher.serve_once(callee)
}
