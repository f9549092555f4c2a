//! The receiving end of a bus.

use core::ops::Deref;
use std::path::Path;
use std::time::Duration;

use super::batch::RxBatchGuard;
use super::error::RecvError;
use super::message::Message;
use crate::connection::{self, Established, Rx, State, slice};
use crate::handshake::{ConnectError, Kind, ListenError, Role};
use crate::options::Options;
use crate::shm::NumaError;
use crate::wait::{Deadline, Interrupt, PollingMode};

/// The receiving end of a bus between two processes.
///
/// One thread at a time uses a receiver, which `&mut self` ensures. Dropping the receiver closes the bus in good order:
/// the sender's next operation fails with [`SendError::Closed`](crate::SendError::Closed).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("bus.sock");
/// use tachyon::{Receiver, Sender};
/// # let connect_to = path.clone();
///
/// let sender = std::thread::spawn(move || Ok::<_, tachyon::Error>(Sender::connect(&connect_to)?.send(b"hello", 7)?));
/// let mut receiver = Receiver::listen(&path, 4096)?;
/// let message = receiver.recv()?;
/// assert_eq!((message.type_id(), &*message), (7, &b"hello"[..]));
/// # sender.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a receiver closes its bus"]
pub struct Receiver {
    rx: Rx,
}

impl Receiver {
    /// Makes a bus of `capacity` bytes at `path`, and waits for the sender to connect. A capacity is a power of two,
    /// and the longest message has this length.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, an unusable path, or too little memory.
    pub fn listen(path: impl AsRef<Path>, capacity: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, capacity, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and [`ListenError::TimedOut`] after the timeout of the options.
    pub fn listen_with(path: impl AsRef<Path>, capacity: usize, options: &Options) -> Result<Self, ListenError> {
        Ok(Self::over(&connection::listen(path.as_ref(), Kind::Bus, Role::Sink, &[capacity], options)?))
    }

    /// Connects to the sender that listens at `path`, and waits up to 5 seconds for the sender to listen.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener has another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        Ok(Self::over(&connection::connect(path.as_ref(), Kind::Bus, Role::Sink, options)?))
    }

    pub(crate) fn over(established: &Established) -> Self {
        Self { rx: established.rx(0) }
    }

    /// Receives the next message in place, waiting for it. Dropping the guard releases the message.
    ///
    /// # Errors
    /// [`RecvError`]: the peer has closed or died, and all its messages have been received; or the memory is corrupted.
    #[inline]
    pub fn recv(&mut self) -> Result<RxGuard<'_>, RecvError> {
        self.recv_until(Deadline::never())
    }

    /// As [`recv`](Self::recv), waiting at most `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvError::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RxGuard<'_>, RecvError> {
        self.recv_until(Deadline::after(timeout))
    }

    /// Receives the next message in place, or returns `None` if there is none now.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<RxGuard<'_>>, RecvError> {
        Ok(if self.rx.try_take_current()? { Some(RxGuard { rx: &mut self.rx }) } else { None })
    }

    #[inline]
    fn recv_until(&mut self, deadline: Deadline) -> Result<RxGuard<'_>, RecvError> {
        self.rx.take_next(deadline)?;
        Ok(RxGuard { rx: &mut self.rx })
    }

    /// Receives up to `max` messages in place as one batch, waiting for the first. Dropping the batch releases all of
    /// them.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    /// When `max` is 0.
    pub fn recv_batch(&mut self, max: usize) -> Result<RxBatchGuard<'_>, RecvError> {
        Ok(RxBatchGuard::take(&mut self.rx, max, Deadline::never())?)
    }

    /// As [`recv_batch`](Self::recv_batch), waiting at most `timeout` for the first message.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Panics
    /// When `max` is 0.
    pub fn recv_batch_timeout(&mut self, max: usize, timeout: Duration) -> Result<RxBatchGuard<'_>, RecvError> {
        Ok(RxBatchGuard::take(&mut self.rx, max, Deadline::after(timeout))?)
    }

    /// Iterates over copies of the messages, waiting for each message. The iteration ends when the sender closes in
    /// good order; any other end of the connection is the last item.
    ///
    /// ```
    /// # fn demo(mut receiver: tachyon::Receiver) -> Result<(), tachyon::RecvError> {
    /// for message in receiver.messages() {
    ///     let message = message?;
    ///     println!("{} bytes of type {}", message.data.len(), message.type_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn messages(&mut self) -> Messages<'_> {
        Messages { receiver: self, ended: false }
    }

    /// Longest message that this bus can carry, in bytes: the capacity.
    pub fn max_len(&self) -> usize {
        self.rx.max_len()
    }

    /// The state of the connection. Costs a system call.
    pub fn state(&self) -> State {
        self.rx.connection.state()
    }

    /// Sets how this receiver waits for a message: it spins, parks, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.rx.waiter.budget.set_mode(mode);
    }

    /// Sets the function that a wait asks at least every 50 ms; `true` ends the wait as interrupted.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.rx.waiter.interrupt = interrupt;
    }

    /// Moves the memory of the bus to NUMA node `node` (0 to 63). Pages that the peer has touched stay, so call this
    /// right after connecting.
    ///
    /// # Errors
    /// [`NumaError`]: no such node, or no NUMA support. The bus stays usable.
    pub fn set_numa_node(&self, node: u32) -> Result<(), NumaError> {
        self.rx.ring().segment().bind_to_node(node)
    }

    /// Closes the bus in good order, as dropping it does. Messages that were not received are lost.
    pub fn close(self) {}
}

/// A received message, in place. Dereferences to the payload; dropping the guard gives the room back to the sender.
#[derive(Debug)]
#[must_use = "dropping the guard releases the message"]
pub struct RxGuard<'a> {
    /// The message is the current frame of this direction.
    rx: &'a mut Rx,
}

impl RxGuard<'_> {
    /// The message's type id, which the sender chose.
    #[inline]
    pub fn type_id(&self) -> u32 {
        self.rx.current.type_id
    }

    /// A copy that outlives the guard.
    pub fn to_message(&self) -> Message {
        Message { type_id: self.rx.current.type_id, data: self.to_vec() }
    }
}

impl Deref for RxGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        slice::payload(&self.rx.current, self.rx)
    }
}

impl Drop for RxGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.rx.release_current();
    }
}

/// An iterator over copies of messages; see [`Receiver::messages`].
#[derive(Debug)]
pub struct Messages<'a> {
    receiver: &'a mut Receiver,
    ended: bool,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.receiver.recv() {
            Ok(guard) => Some(Ok(guard.to_message())),
            Err(error) => {
                self.ended = !matches!(error, RecvError::Interrupted | RecvError::TimedOut);
                if matches!(error, RecvError::Closed) { None } else { Some(Err(error)) }
            }
        }
    }
}
