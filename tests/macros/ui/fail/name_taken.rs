use tachyon::tachyon_rpc;

struct Echo {}

#[tachyon_rpc(msg_type = 1)]
#[expect(non_snake_case)]
fn Echo(_payload: &[u8]) {}

fn main() {}
