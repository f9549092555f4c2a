//! A member of a chat: sends the lines of its input, and prints the lines of all. `chat_caller.py` does the same.
//!
//! ```text
//! cargo run --release --bin chat_caller -- SOCKET NAME
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::io::stdin;

use tachyon::AsyncCaller;
use tokio::sync::mpsc;

#[path = "chat_api.rs"]
mod api;
use api::{Line, RoomAsyncClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [socket, name] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: chat_caller SOCKET NAME")?;
    let room = RoomAsyncClient::new(AsyncCaller::connect(&socket).await?);
    let chat = room.enter(&name).await?;
    let (typed, mut lines) = mpsc::channel(1);
    // A thread, which the end of the program does not wait for: a runtime waits for its own reads of the input.
    std::thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| typed.blocking_send(line)));
    let mut leaving = false;
    loop {
        // No branch loses anything when the other one is first.
        tokio::select! {
            line = chat.recv() => match line.transpose()? {
                Some(Line { author, text }) => println!("{author}: {text}"),
                None => return Ok(()),
            },
            text = lines.recv(), if !leaving => match text {
                // False if the server has ended the stream: `recv` says so, too.
                Some(text) => leaving = !chat.send(&text).await?,
                None => {
                    chat.end().await?;
                    leaving = true;
                }
            },
        }
    }
}
