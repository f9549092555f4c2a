//! The iterator of a method outlives the call of the method, in the implementations as in the trait.
use tachyon::tachyon_rpc;

#[tachyon_rpc]
trait Market {
    #[rpc(msg_type = 1)]
    fn quotes(&self, of: &str) -> impl Iterator<Item = u32> + 'static;
}

struct Exchange;

impl Market for Exchange {
    fn quotes(&self, of: &str) -> impl Iterator<Item = u32> {
        0..of.len() as u32
    }
}

fn main() {}
