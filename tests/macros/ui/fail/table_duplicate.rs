use tachyon::{endpoints, tachyon_rpc};
use tachyon::dispatch::Entry;

mod market {
    use tachyon::tachyon_rpc;

    #[tachyon_rpc(msg_type = 7)]
    pub(crate) fn price(_payload: &[u8]) {}
}

const SEVEN: u16 = 7;

#[tachyon_rpc(msg_type = 7)]
fn quote(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = SEVEN)]
fn order(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 8)]
fn other(_payload: &[u8]) {}

fn main() {
    // rustc reports each duplicate at its own name.
    let _ = endpoints![other, quote, market::price, order];

    // The same endpoint twice.
    let _: &[Entry<()>] = endpoints![other, other];

    // Endpoints that a `cfg` excludes do not count.
    let _ = endpoints![
        #[cfg(windows)]
        quote,
        #[cfg(unix)]
        market::price,
        #[cfg(unix)]
        order,
    ];
}
