//! A front end of the language model in Python, `examples/python/token_model.py`: prints words as they come.
//!
//! ```text
//! cargo run --release --bin token_frontend -- SOCKET PROMPT WORDS SEED
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::io::{Write, stdout};

use tachyon::{CallError, Caller, tachyon_rpc};

/// The errors of the model.
#[tachyon::error]
pub(crate) enum ModelError {
    /// The text that the model was trained on does not have the word.
    #[error("the model does not know the word {word}")]
    UnknownWord { word: String },
}

/// The contract of the model.
#[tachyon_rpc]
pub(crate) trait Model {
    /// The words that follow a prompt, without end.
    #[rpc(msg_type = 1)]
    fn generate(&self, prompt: &str, seed: u64) -> impl Iterator<Item = Result<String, ModelError>> + 'static;
}

fn main() -> Result<(), Box<dyn Error>> {
    let [socket, prompt, budget, seed] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: token_frontend SOCKET PROMPT WORDS SEED")?;
    let mut model = ModelClient::new(Caller::connect(&socket)?);
    print!("{prompt}");
    // `take` owns the stream: behind the loop it is dropped, which ends the model's generator.
    for word in model.generate(&prompt, seed.parse()?)?.take(budget.parse()?) {
        match word {
            Ok(word) => print!(" {word}"),
            Err(CallError::Failed(error)) => print!(": {error}"),
            Err(other) => return Err(other.into()),
        }
        stdout().flush()?;
    }
    println!();
    Ok(())
}
