//! `Debug` of a reply in place borrows the view: an implementation for one lifetime only could keep the view.
use tachyon::{Caller, tachyon_rpc};

#[tachyon::payload]
pub struct Scan {
    pub points: Vec<u32>,
}

impl std::fmt::Debug for ScanRef<'static> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.points)
    }
}

#[tachyon_rpc(msg_type = 1)]
fn latest(number: u32) -> Scan {
    Scan { points: vec![number] }
}

fn print(caller: &'static mut Caller) {
    let reply = latest::call_in_place(caller, 1).unwrap();
    println!("{reply:?}");
}

fn main() {}
