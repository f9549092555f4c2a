use tachyon::tachyon_rpc;

#[tachyon_rpc(msg_type = 1)]
fn ty<T: Default + AsRef<[u8]>>(_payload: &[u8]) -> Vec<u8> {
    T::default().as_ref().to_vec()
}

#[tachyon_rpc(msg_type = 2)]
fn constant<const N: usize>(_payload: &[u8]) -> [u8; N] {
    [0; N]
}

#[tachyon_rpc(msg_type = 3)]
fn lifetime<'a>(payload: &'a [u8]) -> &'a [u8] {
    payload
}

#[tachyon_rpc(msg_type = 4)]
fn all_of_them<'a, T: AsRef<[u8]>, const N: usize>(payload: &'a [u8]) -> &'a [u8] {
    payload
}

fn main() {}
