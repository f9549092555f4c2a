use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tachyon::{Dispatcher, endpoints, tachyon_rpc};

async fn later() {}

#[tachyon_rpc(msg_type = 1)]
async fn holds() -> u64 {
    let held = Rc::new(1);
    later().await;
    *held
}

#[tachyon_rpc(msg_type = 2)]
async fn counts(#[state] count: &Cell<u64>) -> u64 {
    count.get()
}

#[tachyon_rpc(msg_type = 3)]
fn adds(#[state] sum: &mut u64, number: u64) {
    *sum += number;
}

#[tachyon_rpc]
trait Counter {
    #[rpc(msg_type = 1)]
    async fn count(&self) -> u64;
}

struct Unshared(Cell<u64>);

impl Counter for Unshared {
    async fn count(&self) -> u64 {
        self.0.get()
    }
}

#[tachyon_rpc]
trait Adder {
    #[rpc(msg_type = 1)]
    fn add(&mut self, number: u64);
}

impl Adder for u64 {
    fn add(&mut self, number: u64) {
        *self += number;
    }
}

fn main() {
    let _ = endpoints![holds, counts];
    let _ = endpoints![adds];
    let _ = AdderService::shared(Arc::new(1u64));
    let _ = Dispatcher::with_shared(Arc::new(Cell::new(1)), endpoints![]);
}
