//! A carrier within one process, for tests: both ends of a link without a network.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::carrier::{Carrier, CarrierError, Channel, Incoming, Lane, Peer};

/// Messages that wait in one direction of a lane.
const ROOM: usize = 16;

/// Bytes of the longest message.
const MAX_MESSAGE: usize = 1 << 20;

/// The near end. Clones connect to the same far end.
#[derive(Debug, Clone)]
pub struct MemoryCarrier {
    far: Arc<Mutex<Option<mpsc::Sender<Incoming>>>>,
    peer: Arc<Peer>,
}

/// A carrier, and the lanes that its far end gets. The near end has the given name.
pub fn memory(name: Option<&str>) -> (MemoryCarrier, mpsc::Receiver<Incoming>) {
    let (sender, receiver) = mpsc::channel(ROOM);
    let peer = Arc::new(Peer { name: name.map(str::to_owned), address: None });
    (MemoryCarrier { far: Arc::new(Mutex::new(Some(sender))), peer }, receiver)
}

impl MemoryCarrier {
    /// Ends the far end for later channels, or replaces it.
    pub fn replace_far(&self, far: Option<mpsc::Sender<Incoming>>) {
        *self.far.lock().unwrap_or_else(PoisonError::into_inner) = far;
    }

    fn far(&self) -> Option<mpsc::Sender<Incoming>> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Carrier for MemoryCarrier {
    type Channel = MemoryChannel;

    async fn connect(&self) -> Result<MemoryChannel, CarrierError> {
        let far = self.far().filter(|far| !far.is_closed());
        let far = far.ok_or_else(|| CarrierError::Unreachable { to: "memory".into(), text: "no far end".into() })?;
        Ok(MemoryChannel { far, peer: Arc::clone(&self.peer) })
    }
}

/// A channel within one process.
#[derive(Debug)]
pub struct MemoryChannel {
    far: mpsc::Sender<Incoming>,
    peer: Arc<Peer>,
}

impl Channel for MemoryChannel {
    async fn open(&self) -> Result<Lane, CarrierError> {
        let ((sender, to_far), (to_near, receiver)) = (mpsc::channel(ROOM), mpsc::channel(ROOM));
        let far =
            Lane { sender: to_near, receiver: Box::pin(ReceiverStream::new(to_far).map(Ok)), max_message: MAX_MESSAGE };
        let incoming = Incoming { peer: Arc::clone(&self.peer), lane: far };
        let ended = |_| CarrierError::Ended { to: "memory".into(), text: "the far end is gone".into() };
        self.far.send(incoming).await.map_err(ended)?;
        Ok(Lane { sender, receiver: Box::pin(ReceiverStream::new(receiver).map(Ok)), max_message: MAX_MESSAGE })
    }
}
