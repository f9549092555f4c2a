//! The parameters of an endpoint are borrowed for one call.
use tachyon::{List, tachyon_rpc};

#[tachyon::payload]
struct Scan {
    frame: String,
}

#[tachyon_rpc(msg_type = 1)]
fn keeps(_scan: ScanRef<'static>, _names: List<'static, String>, _maybe: Option<ScanRef<'static>>) {}

fn main() {}
