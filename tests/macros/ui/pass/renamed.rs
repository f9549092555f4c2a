//! The library under another path.
#![deny(warnings, missing_docs, unsafe_code, clippy::all, clippy::pedantic)]

mod vendored {
    pub(crate) use ::tachyon as ipc;
}

/// Names the library by a path into this crate.
#[vendored::ipc::tachyon_rpc(msg_type = 1, crate = crate::vendored::ipc)]
fn echo(payload: &[u8]) -> &[u8] {
    payload
}

/// Names the library by a global path, before the number.
#[vendored::ipc::tachyon_rpc(crate = ::tachyon, msg_type = 2)]
fn other(payload: &[u8]) -> &[u8] {
    payload
}

fn main() {
    let table = vendored::ipc::endpoints![crate = crate::vendored::ipc; echo, other];
    assert_eq!(table.len(), 2);
    let empty: &[vendored::ipc::dispatch::Entry<()>] = vendored::ipc::endpoints![crate = vendored::ipc;];
    assert!(empty.is_empty());
}
