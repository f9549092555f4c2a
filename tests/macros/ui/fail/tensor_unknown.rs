use tachyon::dispatch::ReplySlot;
use tachyon::{Tensor, TensorRef, tachyon_rpc};

const MANY: usize = 9;

#[tachyon::payload]
#[derive(Clone, Copy)]
struct Pixel {
    value: u32,
}

#[tachyon::payload]
struct Fields {
    pixels: Tensor<Pixel, 2>,
    list: Vec<Tensor<Pixel, 3>>,
    image: Option<Tensor<f32, MANY>>,
}

#[tachyon_rpc(msg_type = 1)]
fn pixels(_image: TensorRef<'_, Pixel, 2>, _maybe: Option<Tensor<Pixel, 2>>, _list: Vec<Tensor<Pixel, 2>>) {}

#[tachyon_rpc(msg_type = 2)]
fn dimensions(_image: TensorRef<'_, f32, MANY>, _more: u8) -> Tensor<f32, { MANY + 1 }> {
    unimplemented!()
}

#[tachyon_rpc(msg_type = 3)]
fn reply() -> Result<Tensor<Pixel, 2>, String> {
    unimplemented!()
}

#[tachyon_rpc(msg_type = 4)]
fn slot(_reply: ReplySlot<'_, Tensor<Pixel, 2>>) {}

fn main() {}
