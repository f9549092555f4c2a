//! Arguments that are fields lie in one head, which is copied to the stack: its size has a limit.

#[tachyon::tachyon_rpc(msg_type = 1)]
fn frame(pixels: [u8; 4096], number: u32) -> u32 {
    number + u32::from(pixels[0])
}

#[tachyon::error]
enum Broken {
    #[error("this frame")]
    Frame { pixels: [u8; 4096], name: String },
}

fn main() {}
