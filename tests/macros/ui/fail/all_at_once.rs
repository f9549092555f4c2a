//! One compile shows every mistake of each function.
use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 65535, msg_type = 2, reply = "bytes", crate)]
#[tachyon_rpc(msg_type = 3)]
async unsafe extern "C" fn everything<'a, T>(_payload: &'a mut [u8], _more: impl Sized) -> ! {
    loop {}
}

#[tachyon_rpc(msg_type = -5)]
async fn next(_payload: String) {}

fn main() {}
