use tachyon::{Dispatcher, Endpoint, Entry, endpoints, tachyon_rpc};

struct Book;

#[allow(non_camel_case_types)]
struct price {}

impl Endpoint for price {
    type State = Book;
    const MSG_TYPE: u16 = 1;
    const NAME: &'static str = "price";
    const DOC: &'static str = "";
    const ENTRY: Entry<Book> = Entry::shared(1, "price", "", |_, _, reply| reply.bytes(&[]));
}

#[tachyon_rpc(msg_type = 2)]
fn echo(_payload: &[u8]) {}

fn main() {
    // Two states in one table.
    let _ = endpoints![echo, price];

    // A table for another dispatcher.
    let _ = Dispatcher::new(endpoints![price]);
}
