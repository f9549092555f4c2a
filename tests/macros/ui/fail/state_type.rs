use tachyon::tachyon_rpc;

struct Book;

#[tachyon_rpc(msg_type = 1)]
fn by_value(#[state] _book: Book, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 2)]
fn open(#[state] _book: &impl Sized, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 3)]
fn forever(#[state] _book: &'static Book, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 4)]
fn unmarked(_book: &mut Book) {}

#[tachyon_rpc(msg_type = 5)]
fn unmarked_and_shared(_book: &Book) {}

#[tachyon_rpc(msg_type = 6)]
fn two(#[state] _book: &Book, #[state] _other: &Book) {}

fn main() {}
