use tachyon::{endpoints, tachyon_rpc};

struct Book;

fn plain(_payload: &[u8]) {}

#[tachyon_rpc(msg_type = 2)]
fn echo(_payload: &[u8]) {}

fn main() {
    plain(b"");
    let _ = endpoints![echo, Book];
    let _ = endpoints![echo, plain];
    let _ = endpoints![echo, missing];
}
