//! Lists nest at most 16 levels deep.

type Four<T> = Vec<Vec<Vec<Vec<T>>>>;

#[tachyon::tachyon_rpc(msg_type = 1)]
fn lists(_lists: Four<Four<Four<Four<u8>>>>, _number: u8) {}

fn main() {
    let _ = tachyon::endpoints![lists];
}
