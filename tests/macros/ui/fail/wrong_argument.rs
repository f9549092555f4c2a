//! rustc reports a wrong argument at the argument of the call.
use tachyon::{CallError, Caller, tachyon_rpc};

#[tachyon::payload]
#[derive(Debug)]
pub struct Scan {
    pub frame: String,
}

#[tachyon_rpc(msg_type = 1)]
fn filter(_scan: ScanRef<'_>, radius: f32) -> f32 {
    radius
}

#[derive(Debug)]
enum BookError {
    Full,
}

impl std::fmt::Display for BookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("full")
    }
}

#[tachyon_rpc(msg_type = 2)]
fn place(x: &u64) -> Result<u64, BookError> {
    if *x == 0 { Err(BookError::Full) } else { Ok(*x) }
}

fn uses(caller: &mut Caller) -> Result<(), CallError> {
    filter::call(caller, "a scan", 1.0)?;
    match place::call(caller, &1) {
        Err(BookError::Full) | Err(_) | Ok(_) => {}
    }
    Ok(())
}

fn main() {
    let _ = uses;
}
