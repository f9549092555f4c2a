use tachyon::tachyon_rpc;

struct Book;

#[tachyon_rpc(msg_type = 1)]
fn by_value(_book: Book, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 2)]
fn open(_book: &impl Sized, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 3)]
fn forever(_book: &'static Book, _payload: &[u8]) {}

#[tachyon_rpc(msg_type = 4)]
fn alone(_book: &mut Book) {}

fn main() {}
