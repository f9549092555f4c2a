//! Tensors in every place, under aliases and with constants.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes, non_ascii_idents)]
#![deny(rust_2018_idioms, clippy::all, clippy::pedantic)]
#![allow(clippy::needless_pass_by_value, reason = "forms")]

use tachyon::dispatch::{ReplySlot, SlotError};
use tachyon::payload::{Value, ValueType};
use tachyon::{Dispatcher, List, Tensor, TensorRef, endpoints, tachyon_rpc};

type Pixel = u8;
type Image<'a> = TensorRef<'a, Pixel, 2>;
const PLANES: usize = 3;

/// A payload with tensors in every place.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
struct Frame {
    image: Tensor<Pixel, 2>,
    volume: Tensor<f64, PLANES>,
    mask: Option<Tensor<u8, 2>>,
    levels: Vec<Tensor<i16, { 1 + 1 }>>,
}

/// A payload that a tensor alone makes variable.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
struct Only {
    image: Tensor<f32, 1>,
}

/// A type of the same name without arguments is another type.
mod other {
    #[tachyon::payload]
    #[derive(Debug, PartialEq)]
    pub(crate) struct Tensor {
        pub(crate) rank: u32,
    }

    #[tachyon::payload]
    #[derive(Debug, PartialEq)]
    pub(crate) struct Uses {
        pub(crate) tensor: Tensor,
    }

    #[tachyon::payload]
    #[derive(Debug, PartialEq)]
    pub(crate) struct Path {
        pub(crate) tensor: ::tachyon::payload::Tensor<u8, 1>,
    }
}

#[tachyon_rpc(msg_type = 1)]
fn whole(image: TensorRef<'_, f32, 2>) -> Tensor<f32, 2> {
    image.into_owned()
}

#[tachyon_rpc(msg_type = 2)]
fn fields(image: Image<'_>, mask: Option<TensorRef<'_, u8, 2>>, levels: List<'_, Tensor<i16, 2>>) -> Option<u64> {
    Some((image.as_slice().len() + mask?.as_slice().len() + levels.len()) as u64)
}

#[tachyon_rpc(msg_type = 3)]
fn owned(image: Tensor<u64, PLANES>, only: OnlyRef<'_>) -> Result<Vec<Tensor<u64, 3>>, String> {
    if only.image.shape() == [0] { Err("empty".to_owned()) } else { Ok(vec![image]) }
}

#[tachyon_rpc(msg_type = 4)]
fn slot(frame: &Frame, reply: ReplySlot<'_, Tensor<u8, 2>>) -> Result<(), SlotError> {
    let mut room = reply.reserve(frame.image.shape())?;
    room.copy_from_slice(frame.image.as_slice());
    room[[0, 0]] += 1;
    room.commit();
    Ok(())
}

#[tachyon_rpc(msg_type = 5)]
fn borrowed(#[state] state: &Frame) -> TensorRef<'_, u8, 2> {
    state.image.view()
}

/// A service with tensors.
#[tachyon_rpc]
trait Model {
    #[rpc(msg_type = 6)]
    fn classify(&self, images: TensorRef<'_, f32, 4>) -> Tensor<f32, 2>;
}

struct Zeros;

impl Model for Zeros {
    fn classify(&self, images: TensorRef<'_, f32, 4>) -> Tensor<f32, 2> {
        let [count, ..] = images.shape();
        Tensor::new([count, 2], vec![0.0; 2 * count]).expect("two values for each image")
    }
}

fn main() {
    let image = Tensor::new([1, 2], vec![7, 8]).expect("two values");
    let frame = Frame {
        image: image.clone(),
        volume: Tensor::new([1, 1, 1], vec![0.5]).expect("one value"),
        mask: None,
        levels: vec![Tensor::new([0, 3], vec![]).expect("no values")],
    };
    assert_eq!(Frame::from_bytes(&frame.to_bytes()), Ok(frame.clone()));
    let view: FrameRef<'_> = frame.view();
    assert_eq!((view.image[[0, 1]], view.levels.len()), (8, 1));
    assert_eq!(<Tensor<f32, 2>>::TYPE.clone(), ValueType::Tensor { of: tachyon::payload::Primitive::F32, ndim: 2 });
    let other = other::Uses { tensor: other::Tensor { rank: 2 } };
    assert_eq!(other.to_bytes(), [2, 0, 0, 0]);
    let path = other::Path { tensor: Tensor::new([1], vec![5]).expect("one value") };
    assert_eq!(other::Path::from_bytes(&path.to_bytes()), Ok(path));
    assert_eq!(fields(image.view(), Some(image.view()), List::from([].as_slice())), Some(4));
    let only = Only { image: Tensor::new([0], vec![]).expect("no values") };
    assert!(owned(Tensor::new([0; 3], vec![]).expect("no values"), only.view()).is_err());
    let whole_image = Tensor::new([1, 1], vec![0.5]).expect("one value");
    assert_eq!(whole(whole_image.view()), whole_image);
    let description = Dispatcher::with_state(frame, endpoints![whole, fields, owned, slot, borrowed]).describe();
    let shown: Vec<_> = description.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "whole(tensor[f32, 2]) -> tensor[f32, 2]",
            "fields(image: tensor[u8, 2], mask: option[tensor[u8, 2]], levels: list[tensor[i16, 2]]) -> option[u64]",
            "owned(image: tensor[u64, 3], only: Only) -> list[tensor[u64, 3]]",
            "slot(Frame) -> tensor[u8, 2]",
            "borrowed() -> tensor[u8, 2]",
        ]
    );
    let model = ModelService::dispatcher(Zeros).describe();
    assert_eq!(model.endpoints[0].to_string(), "classify(tensor[f32, 4]) -> tensor[f32, 2]");
    // Both sides of every client compile.
    let _ = |caller: &mut tachyon::Caller| -> Result<(), Box<dyn std::error::Error>> {
        let image = Tensor::new([1, 1], vec![0.5])?;
        let replies: [Tensor<f32, 2>; 2] = [whole::call(caller, image.view())?, whole::call(caller, &image)?];
        drop(replies);
        let reply = whole::call_in_place(caller, &image)?;
        let _: TensorRef<'_, f32, 2> = reply.get();
        drop(reply);
        let mask = Tensor::new([1, 1], vec![1])?;
        let _: Option<u64> = fields::call(caller, &mask, Some(mask.view()), &vec![])?;
        Ok(())
    };
}
