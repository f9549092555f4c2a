//! A stream is opened, and a pool has no connection for it.
use tachyon::{CallError, Caller, Pool, tachyon_rpc};

#[tachyon_rpc(msg_type = 1)]
fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

fn called(caller: &mut Caller) {
    let _ = count::call(caller, 1);
}

fn pooled(pool: &Pool) -> Result<(), CallError> {
    count::open(&mut &*pool, 1).map(drop)
}

fn finished(caller: &mut Caller) -> Result<(), CallError> {
    let mut stream = count::open(caller, 1)?;
    stream.send(1u32)?;
    stream.finish()?;
    Ok(())
}

fn main() {}
