//! A chat on a tokio runtime: each member is a task. `chat_server.py` is the same on asyncio.
//!
//! ```text
//! cargo run --release --bin chat_server -- SOCKET
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod signals;

use std::error::Error;

use tachyon::{ItemError, Items, RpcServer, StreamSender};
use tokio::sync::broadcast::{self, error::RecvError};

#[path = "chat_api.rs"]
mod api;
use api::{Line, Room, RoomService};

/// Lines that a slow member may be behind. It misses the oldest ones then, and keeps no other member waiting.
const BEHIND: usize = 100;

struct Lines(broadcast::Sender<Line>);

/// A member, until it is dropped: at the end of its handler, or where the handler waits when its stream is cancelled.
struct Member<'a> {
    lines: &'a Lines,
    name: String,
}

impl Member<'_> {
    fn say(&self, text: impl Into<String>) {
        // Fails when no member listens.
        let _heard = self.lines.0.send(Line { author: self.name.clone(), text: text.into() });
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.say("has left");
    }
}

impl Room for Lines {
    async fn enter(&self, name: String, mut items: Items<String>, out: StreamSender<Line>) -> Result<(), ItemError> {
        let mut lines = self.0.subscribe();
        let member = Member { lines: self, name };
        member.say("is here");
        loop {
            tokio::select! {
                text = items.recv() => match text {
                    Some(text) => member.say(text?),
                    None => return Ok(()),
                },
                line = lines.recv() => match line {
                    Ok(line) => out.send(&line).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("usage: chat_server SOCKET")?;
    let mut server = RpcServer::listen(&socket)?;
    signals::stop_on_signals(server.stopper())?;
    println!("serving at {socket}");
    let dispatcher = RoomService::dispatcher(Lines(broadcast::Sender::new(BEHIND)));
    // In a separate task: `main` is not one of the runtime's threads.
    tokio::spawn(async move { dispatcher.serve_async(&mut server).await }).await??;
    println!("stopped");
    Ok(())
}
