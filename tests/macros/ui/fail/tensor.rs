use tachyon::dispatch::ReplySlot;
use tachyon::{Tensor, TensorRef, tachyon_rpc};

#[tachyon::payload]
struct Fields {
    none: Tensor<f32, 0>,
    many: Tensor<f32, 9>,
    mask: Tensor<bool, 2>,
    text: Tensor<String, 2>,
    size: Tensor<usize, 2>,
    rows: Tensor<[f32; 3], 2>,
    lent: TensorRef<'static, f32, 2>,
    array: [Tensor<f32, 2>; 2],
}

#[tachyon_rpc(msg_type = 1)]
fn dimensions(_image: TensorRef<'_, f32, 0>, _more: Tensor<f32, 9>) {}

#[tachyon_rpc(msg_type = 2)]
fn numbers(_image: TensorRef<'_, bool, 2>, _maybe: Option<TensorRef<'_, String, 2>>) {}

#[tachyon_rpc(msg_type = 4)]
fn borrowed(_image: &Tensor<f32, 2>, _slice: &[Tensor<f32, 2>]) {}

#[tachyon_rpc(msg_type = 5)]
fn reply() -> Tensor<f32, 9> {
    unimplemented!()
}

#[tachyon_rpc(msg_type = 6)]
fn slot(_reply: ReplySlot<'_, Tensor<bool, 2>>) {}

fn main() {}
