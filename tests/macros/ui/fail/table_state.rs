use tachyon::{Dispatcher, endpoints, tachyon_rpc};

struct Book;

struct Ledger;

#[tachyon_rpc(msg_type = 1)]
fn price(#[state] _book: &Book, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 3)]
fn balance(#[state] _ledger: &mut Ledger) {}

#[tachyon_rpc(msg_type = 2)]
fn echo(_payload: &[u8]) {}

fn main() {
    // Two states in one table.
    let _ = endpoints![echo, price, balance];

    // A table for a dispatcher with a different state.
    let _ = Dispatcher::new(endpoints![echo, price]);
}
