use std::sync::Arc;
use std::time::Duration;

use tachyon::{Pool, tachyon_rpc};

#[tachyon_rpc(msg_type = 1)]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[tachyon_rpc]
trait Adding {
    #[rpc(msg_type = 2)]
    fn double(&self, number: u64) -> u64;
}

fn through(pool: &Pool, shared: Arc<Pool>) {
    let _ = add::call(&mut &*pool, 1, 2);
    let _ = AddingClient::new(pool).double(1);

    let _ = add::call(&mut "caller", 1, 2);
    let _ = add::call_in_place(&mut &*pool, 1, 2);
    let _ = add::start(&mut pool.within(Duration::ZERO), 1, 2);
    let _ = AddingClient::new(shared).starting();
    let _ = AddingClient::new("caller");
}

fn main() {}
