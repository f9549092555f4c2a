//! The view of a reply lives as long as the reply's guard, and the view of a request as long as its handler runs.
use tachyon::{Caller, List, tachyon_rpc};

#[tachyon::payload]
pub struct Scan {
    pub frame: String,
}

#[tachyon_rpc(msg_type = 1)]
fn latest(number: u32) -> Scan {
    Scan { frame: number.to_string() }
}

fn frame(caller: &mut Caller) -> &str {
    let reply = latest::call_in_place(caller, 1).unwrap();
    reply.get().frame
}

fn uses_the_caller(caller: &mut Caller) -> usize {
    let reply = latest::call_in_place(caller, 1).unwrap();
    let view = reply.get();
    latest::call(caller, 2).unwrap();
    view.frame.len()
}

#[tachyon_rpc(msg_type = 2)]
fn keeps(#[state] kept: &mut Vec<&'static str>, scan: ScanRef<'_>, names: List<'_, String>) {
    kept.push(scan.frame);
    kept.extend(names.iter());
}

fn main() {}
