use tachyon::tachyon_rpc;

struct Book;

#[tachyon_rpc(msg_type = 1)]
fn price(_book: &Book, _payload: &[u8]) {}

fn main() {}
