//! A caller of the model server in Python, `examples/python/model_server.py`. `model_caller.py` prints the same.
//!
//! ```text
//! cargo run --release --bin model_caller -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::time::Duration;

use ndarray::{Array3, ArrayView1, s};
use tachyon::{CallError, Caller, Tensor, TensorRef, tachyon_rpc};

/// The contract of the model server; `model_api.py` has the same contract.
#[tachyon_rpc]
pub(crate) trait Model {
    /// The labels of the model, in the order of the scores.
    #[rpc(msg_type = 1)]
    fn labels(&self) -> Vec<String>;

    /// The scores of a batch of images, multiplied by `gain`: one row for each image, one column for each label.
    #[rpc(msg_type = 2)]
    fn classify(&self, images: TensorRef<'_, f32, 3>, gain: Option<f32>) -> Result<Tensor<f32, 2>, ModelError>;
}

/// The errors of the model server.
#[tachyon::error]
pub(crate) enum ModelError {
    /// An image is smaller than the filters of the model.
    #[error("an image has {rows} x {columns} pixels, and the model needs 3 x 3")]
    TooSmall { rows: u64, columns: u64 },
}

const SIZE: usize = 64;

/// Draws four images, each with one line.
fn draw() -> Array3<f32> {
    let mut images = Array3::zeros((4, SIZE, SIZE));
    images.slice_mut(s![0, SIZE / 2, ..]).fill(1.0);
    images.slice_mut(s![1, .., SIZE / 2]).fill(1.0);
    for along in 0..SIZE {
        images[[2, along, along]] = 1.0;
        images[[3, along, SIZE - 1 - along]] = 1.0;
    }
    images
}

/// The index of the largest score, and the score.
fn largest(scores: &ArrayView1<'_, f32>) -> (usize, f32) {
    scores.iter().copied().enumerate().fold((0, f32::MIN), |best, next| if next.1 > best.1 { next } else { best })
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: model_caller SOCKET")?;
    let mut caller = Caller::connect(&socket)?;
    let mut model = ModelClient::new(&mut caller).within(Duration::from_secs(5));

    let names = model.labels()?;
    let images = draw();
    // The array is in C order: its values are copied once, into the ring.
    let scores = model.classify(TensorRef::try_from(images.view())?, Some(100.0))?;
    for (number, row) in scores.array().outer_iter().enumerate() {
        let (label, score) = largest(&row);
        println!("image {number}: {}, score {score:.1}", names[label]);
    }
    // Every second pixel: an array with strides is copied to C order.
    let coarse = model.classify(&Tensor::from(images.slice(s![.., ..;2, ..;2])), None)?;
    let [count, each] = coarse.shape();
    println!("{count} images of half the size, {each} scores each");
    match model.classify(&Tensor::from(images.slice(s![.., ..2, ..])), None) {
        Err(CallError::Failed(error)) => println!("{error}"),
        other => return Err(format!("the server should return an error, got {other:?}").into()),
    }
    Ok(())
}
