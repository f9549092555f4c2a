//! A connection after its handshake, whose ends are not claimed yet.

use std::sync::Arc;

use super::error::WrongDirection;
use super::life::Connection;
use super::rx::Rx;
use super::tx::Tx;
use crate::handshake::{Pairing, Role};
use crate::options::Options;
use crate::ring::{Consumer, Producer, RingMemory, Side};
use crate::wait::{Peer, PollingMode, Waiter};

/// A connection whose ends are not claimed yet.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) connection: Arc<Connection>,
    role: Role,
    polling: PollingMode,
    options: Options,
}

impl Established {
    pub(crate) fn new(pairing: Pairing, options: &Options) -> Self {
        let rings = pairing.rings.into_iter().map(Arc::new).collect();
        Self::over(pairing.side, pairing.role, pairing.peer, rings, options)
    }

    /// As [`new`](Self::new), over rings with other owners, too.
    pub(crate) fn over(side: Side, role: Role, peer: Peer, rings: Vec<Arc<RingMemory>>, options: &Options) -> Self {
        let connection = Arc::new(Connection::new(side, peer, rings));
        Self { connection, role, polling: options.polling_mode(), options: options.clone() }
    }

    /// Claims the sending end of ring 0, and the receiving end of ring 1 if there is a ring 1.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer has these ends.
    pub(crate) fn take_source(&self, name: &'static str) -> Result<(), WrongDirection> {
        let end = &self.connection.ring(0).header().ends.0.producer;
        self.take(self.role != Role::Sink && RingMemory::claim(end, self.connection.side()), name)
    }

    /// Claims the receiving end of ring 0, and the sending end of ring 1 if there is a ring 1.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer has these ends.
    pub(crate) fn take_sink(&self, name: &'static str) -> Result<(), WrongDirection> {
        let end = &self.connection.ring(0).header().ends.0.consumer;
        self.take(self.role != Role::Source && RingMemory::claim(end, self.connection.side()), name)
    }

    #[allow(clippy::unused_self, reason = "reads as a step of the two methods above")]
    fn take(&self, taken: bool, name: &'static str) -> Result<(), WrongDirection> {
        if taken { Ok(()) } else { Err(WrongDirection { taken: name }) }
    }

    /// The sending end of ring `index`, which the caller has claimed.
    pub(crate) fn tx(&self, index: usize) -> Tx {
        let producer = Producer::new(Arc::clone(self.connection.ring(index)));
        Tx::new(Arc::clone(&self.connection), index, producer, self.waiter(1))
    }

    /// The receiving end of ring `index`, which the caller has claimed.
    pub(crate) fn rx(&self, index: usize) -> Rx {
        let consumer = Consumer::new(Arc::clone(self.connection.ring(index)));
        // Ring 1 carries replies. A reply is probably on its way, which is worth twice the spinning.
        let waiter =
            if index == 1 { self.waiter(2) } else { Waiter::for_requests(self.polling, self.options.interrupt_hook()) };
        Rx::new(Arc::clone(&self.connection), index, consumer, waiter)
    }

    fn waiter(&self, factor: u32) -> Waiter {
        Waiter::new(self.polling, factor, self.options.interrupt_hook())
    }
}
