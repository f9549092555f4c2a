//! The contract of the chat. `chat_api.py` has the same contract.

use tachyon::{ItemError, Items, StreamSender, tachyon_rpc};

/// A line of the chat.
#[tachyon::payload]
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) author: String,
    pub(crate) text: String,
}

/// A room for any number of members.
#[tachyon_rpc]
pub(crate) trait Room {
    /// Enters the room until the caller ends its lines; all members receive the lines of all.
    #[rpc(msg_type = 1)]
    async fn enter(&self, name: String, items: Items<String>, out: StreamSender<Line>) -> Result<(), ItemError>;
}
