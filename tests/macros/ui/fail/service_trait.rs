use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
trait Numbered {
    #[rpc(msg_type = 1)]
    fn f(&self);
}

#[tachyon_rpc]
unsafe trait Unsafe {}

#[tachyon_rpc]
trait Generic<T> {
    type Item;
    const NUMBER: u8;
}

fn main() {}
