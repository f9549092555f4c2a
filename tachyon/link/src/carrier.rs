//! Carriers: they bring messages from one end of a link to the other, in lanes.

use core::pin::Pin;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use thiserror::Error;
use tokio::sync::mpsc;

/// Why a carrier brings no message.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// There is no channel to the far end: nothing was sent.
    #[error("no channel to {to}: {text}")]
    Unreachable {
        /// Where the channel leads.
        to: String,
        /// The cause, in the words of the carrier.
        text: String,
    },
    /// The channel has ended. Messages that were sent before may have arrived.
    #[error("the channel to {to} ended: {text}")]
    Ended {
        /// Where the channel led.
        to: String,
        /// The cause, in the words of the carrier.
        text: String,
    },
    /// The channel has as many lanes as the far end permits.
    #[error("the channel to {to} has its {max} lanes open; end one, or raise `lanes` at the far end")]
    Full {
        /// Where the channel leads.
        to: String,
        /// Lanes of a channel.
        max: usize,
    },
    /// A message is longer than this end takes, or sends. It is left out, and the lane goes on.
    #[error("a message of {size} bytes is longer than the link takes ({max}); raise `max_message` at both ends")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes of the longest message.
        max: usize,
    },
}

/// The messages of the other end, in order. `None` after its last one.
pub type Receiver = Pin<Box<dyn Stream<Item = Result<Bytes, CarrierError>> + Send>>;

/// One lane of a channel: messages in both directions, in order, each direction with a flow control of its own. An end
/// that reads one lane slowly keeps no other lane waiting.
pub struct Lane {
    /// Sends messages. A send waits while the other end reads none, and fails when the other end has dropped its
    /// receiver, or the channel has ended. Dropping the sender is the end of this direction.
    pub sender: mpsc::Sender<Bytes>,
    /// Receives messages. Dropping it stops the other end's sender, and may end the lane in both directions.
    pub receiver: Receiver,
    /// Bytes of the longest message that the lane takes.
    pub max_message: usize,
}

impl core::fmt::Debug for Lane {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

/// The near end of a carrier: connects to the far end.
pub trait Carrier: Send + Sync + 'static {
    /// An open channel.
    type Channel: Channel;

    /// Opens a channel to the far end. The caller of this function decides how long that may take, and drops the
    /// future then.
    ///
    /// # Errors
    /// [`CarrierError::Unreachable`].
    fn connect(&self) -> impl Future<Output = Result<Self::Channel, CarrierError>> + Send;
}

/// A channel to the far end. It ends with its lanes' errors; dropping it ends all lanes.
pub trait Channel: Send + Sync + 'static {
    /// Opens a lane.
    ///
    /// # Errors
    /// [`CarrierError::Ended`] when the channel has ended: nothing was sent over the lane.
    fn open(&self) -> impl Future<Output = Result<Lane, CarrierError>> + Send;
}

/// A lane that a near end has opened, as the far end gets it.
#[derive(Debug)]
pub struct Incoming {
    /// The near end.
    pub peer: Arc<Peer>,
    /// The lane.
    pub lane: Lane,
}

/// The near end of a channel, as the far end knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The first DNS name of the near end's certificate, which the far end has checked. `None` without a certificate.
    pub name: Option<String>,
    /// The address, where the carrier has one.
    pub address: Option<SocketAddr>,
}
