use tachyon::dispatch::Entry;
use tachyon::{endpoints, tachyon_rpc};

struct Book;

struct Ledger;

#[tachyon_rpc(msg_type = 7)]
fn quote(#[state] _book: &Book) {}

#[tachyon_rpc(msg_type = 8)]
fn balance(#[state] _ledger: &Ledger) {}

#[tachyon_rpc]
trait Pricing {
    #[rpc(msg_type = 7)]
    fn price(&self);
}

impl Pricing for Book {
    fn price(&self) {}
}

const QUOTES: &[Entry<Book>] = endpoints![quote];

fn main() {
    // The same number in two tables, and in a table and beside it.
    let _ = endpoints![..PricingService::endpoints::<Book>(), ..QUOTES];
    let _ = endpoints![quote, ..PricingService::endpoints::<Book>()];

    // Two states in one table.
    let _ = endpoints![..QUOTES, balance];
    let _ = endpoints![balance, ..QUOTES];

    // No table.
    let _ = endpoints![..quote];
    let _ = endpoints![..];
    let _ = endpoints![..QUOTES QUOTES];
    let _ = endpoints![#[inline] ..QUOTES];

    // A table of an unnamed implementor.
    let _ = endpoints![..PricingService::endpoints()];
}
