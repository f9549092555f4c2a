use tachyon::{endpoints, tachyon_rpc};

#[tachyon_rpc(msg_type = 2)]
fn echo(_payload: &[u8]) {}

fn main() {
    let _ = endpoints![echo, 1, "text", echo::<u8>, echo(), echo echo, #[inline] echo,];
    let _ = endpoints![,];
    let _ = endpoints![echo,,];
    let _ = endpoints![library = tachyon; echo];
    let _ = endpoints![echo; echo];
}
