//! A member of a chat: sends the lines of its input, and prints the lines of all. `chat_caller.py` does the same.
//!
//! ```text
//! cargo run --release --bin chat_caller -- SOCKET NAME
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::io::stdin;
use std::pin::pin;

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
    let mut receiving = pin!(async {
        while let Some(line) = chat.recv().await {
            let Line { author, text } = line?;
            println!("{author}: {text}");
        }
        Ok(())
    });
    // Beside `receiving`: a server whose lines are not read may stop taking those of its caller.
    let sending = async {
        while let Some(text) = lines.recv().await {
            if !chat.send(&text).await? {
                return Ok(()); // the server has ended the stream, and `recv` says why
            }
        }
        chat.end().await
    };
    tokio::select! {
        received = &mut receiving => received,
        sent = sending => match sent {
            Ok(()) => receiving.await,
            Err(error) => Err(error.into()),
        },
    }
}
