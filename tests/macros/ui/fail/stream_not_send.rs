//! Threads pass the iterator of a stream on.
use std::rc::Rc;

use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn count(to: u32) -> impl Iterator<Item = u32> {
    let step = Rc::new(2);
    (0..to).map(move |number| number * *step)
}

fn main() {}
