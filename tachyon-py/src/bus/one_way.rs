//! `Bus`: one direction between two processes, decided by the first operation.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyType;
use tachyon::__binding::{bus_closer, bus_receiving, bus_sending};
use tachyon::PollingMode;

use crate::args::{self, Integer};
use crate::bus::guards::{RxBatchGuard, RxGuard, TxGuard};
use crate::bus::lifetime::{Lifetime, closed, connect_options, options};
use crate::bus::message::Message;
use crate::bus::ring_ends::{Inlet, Occupied, Outlet, busy};
use crate::bus::try_lock::{Debt, Held, Settle, Turn};
use crate::errors::{PeerClosedError, Raise, WrongDirectionError};
use crate::memory::buffer_export::copied_from;
use crate::memory::payload::Payload;
use crate::runtime::interrupt::detached;

/// What this side is.
enum End {
    Undecided(tachyon::Bus),
    Receiving(Inlet),
    Sending(Outlet),
    Closed,
}

/// This side of the bus, as whoever has the turn sees it.
pub(crate) struct Line {
    end: End,
    polling: PollingMode,
    /// Closed by this side; what guards still hold goes with them.
    closing: bool,
}

impl Line {
    fn check_open(&self) -> PyResult<()> {
        if self.closing { Err(closed()) } else { Ok(()) }
    }

    /// The receiving end; an undecided bus becomes it.
    #[inline]
    fn inlet(&mut self) -> PyResult<&mut Inlet> {
        self.check_open()?;
        if let End::Undecided(bus) = &self.end {
            let mut ring = bus_receiving(bus).map_err(Raise::raise)?;
            ring.set_polling_mode(self.polling);
            self.end = End::Receiving(Inlet::new(ring));
        }
        match &mut self.end {
            End::Receiving(inlet) => Ok(inlet),
            End::Sending(_) => Err(WrongDirectionError::new_err(
                "this side sends, so it cannot receive; open a second bus for the way back",
            )),
            End::Undecided(_) | End::Closed => Err(closed()),
        }
    }

    /// The sending end; an undecided bus becomes it.
    #[inline]
    fn outlet(&mut self) -> PyResult<&mut Outlet> {
        self.check_open()?;
        if let End::Undecided(bus) = &self.end {
            let mut ring = bus_sending(bus).map_err(Raise::raise)?;
            ring.set_polling_mode(self.polling);
            self.end = End::Sending(Outlet::new(ring));
        }
        match &mut self.end {
            End::Sending(outlet) => Ok(outlet),
            End::Receiving(_) => Err(WrongDirectionError::new_err(
                "this side receives, so it cannot send; open a second bus for the way back",
            )),
            End::Undecided(_) | End::Closed => Err(closed()),
        }
    }

    fn occupied(&mut self) -> Option<&mut Occupied> {
        match &mut self.end {
            End::Receiving(inlet) => Some(&mut inlet.occupied),
            End::Sending(outlet) => Some(&mut outlet.occupied),
            End::Undecided(_) | End::Closed => None,
        }
    }

    /// Lets a closed bus's memory go once no guard is left.
    fn let_go(&mut self) {
        if self.closing && self.occupied().is_none_or(|occupied| *occupied == Occupied::No) {
            self.end = End::Closed;
        }
    }
}

impl Settle for Line {
    fn settle(&mut self, debt: Debt) {
        match (debt, &mut self.end) {
            (Debt::Release, End::Receiving(inlet)) => inlet.give_back(),
            (Debt::RollBack, End::Sending(outlet)) => outlet.roll_back(),
            (Debt::Close, _) => self.closing = true,
            _ => {}
        }
        self.let_go();
    }
}

/// A one-way bus: one process sends, the other receives. The first operation decides which.
///
/// One thread may use it at a time; a second one gets `BusyError`. As an iterator it yields owned messages until the
/// peer closes.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct Bus {
    line: Turn<Line>,
    lifetime: Lifetime,
}

impl Bus {
    fn over(bus: tachyon::Bus, path: PathBuf) -> Self {
        let lifetime = Lifetime::new(path, bus_closer(&bus));
        let line = Line { end: End::Undecided(bus), polling: PollingMode::Adaptive, closing: false };
        Self { line: Turn::new(line), lifetime }
    }

    #[inline]
    fn turn(&self) -> PyResult<Held<'_, Line>> {
        self.line.try_take().ok_or_else(busy)
    }

    /// Settles what a guard owes when it ends.
    pub(crate) fn owe(&self, debt: Debt) {
        self.line.owe(debt);
    }

    /// Notes that a guard has ended with views left.
    pub(crate) fn lingers(&self) {
        if let Some(mut line) = self.line.try_take()
            && let Some(occupied) = line.occupied()
        {
            *occupied = Occupied::ByViews;
        }
    }

    /// Publishes what a guard wrote.
    pub(crate) fn publish(&self, size: usize, type_id: u32) -> PyResult<()> {
        let Some(mut line) = self.line.try_take() else {
            self.line.owe(Debt::RollBack);
            return Err(busy());
        };
        if line.closing {
            line.settle(Debt::RollBack);
            return Err(closed());
        }
        line.outlet()?.publish(size, type_id, 0)
    }

    fn next_message(&self, py: Python<'_>, spins: Option<PollingMode>, timeout: Option<f64>) -> PyResult<Message> {
        let timeout = args::timeout(timeout)?;
        let mut line = self.turn()?;
        let inlet = line.inlet()?;
        let taking = inlet.take(py, spins, timeout)?;
        let data = copied_from(py, taking);
        inlet.ring.release(taking.position());
        Ok(Message::new(taking.type_id(), taking.len(), data?.into_any().unbind()))
    }
}

#[pymethods]
impl Bus {
    /// Make a bus of `capacity` payload bytes (a power of two) and wait for one peer to connect.
    ///
    /// `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set.
    #[classmethod]
    #[pyo3(signature = (socket_path, capacity, *, timeout=None, any_uid=false))]
    fn listen(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        capacity: Integer,
        timeout: Option<f64>,
        any_uid: bool,
    ) -> PyResult<Self> {
        let _ = cls;
        let options = options(timeout, any_uid)?;
        let capacity = args::size("capacity", capacity)?;
        let bus = detached(py, || tachyon::Bus::listen_with(&socket_path, capacity, &options))?;
        Ok(Self::over(bus, socket_path))
    }

    /// Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever).
    #[classmethod]
    #[pyo3(signature = (socket_path, *, timeout=5.0, any_uid=false))]
    fn connect(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
    ) -> PyResult<Self> {
        let _ = cls;
        let options = connect_options(timeout, any_uid)?;
        let bus = detached(py, || tachyon::Bus::connect_with(&socket_path, &options))?;
        Ok(Self::over(bus, socket_path))
    }

    /// Say goodbye to the peer and give everything back. Closing twice is fine; views stay readable.
    fn close(&self) {
        self.lifetime.close();
        self.line.owe(Debt::Close);
    }

    /// Whether `close` has been called.
    #[getter]
    fn closed(&self) -> bool {
        self.lifetime.is_closed()
    }

    /// Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message.
    #[pyo3(text_signature = "($self, node_id)")]
    fn set_numa_node(&self, node_id: Integer) -> PyResult<()> {
        let node = args::node(node_id)?;
        self.lifetime.open()?.set_numa_node(node).map_err(Raise::raise)
    }

    /// Never park while waiting (1), or spin for a while and then park (0, the default).
    #[pyo3(text_signature = "($self, pure_spin)")]
    fn set_polling_mode(&self, pure_spin: Integer) -> PyResult<()> {
        let mode = args::polling_mode(pure_spin)?;
        let mut line = self.turn()?;
        line.check_open()?;
        line.polling = mode;
        match &mut line.end {
            End::Receiving(inlet) => inlet.ring.set_polling_mode(mode),
            End::Sending(outlet) => outlet.ring.set_polling_mode(mode),
            End::Undecided(_) | End::Closed => {}
        }
        Ok(())
    }

    /// Copy any C-contiguous buffer into the ring and publish it, waiting for room if need be.
    #[pyo3(signature = (data, type_id=Integer::Fits(0), *, timeout=None), text_signature = "($self, data, type_id=0, *, timeout=None)")]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, type_id: Integer, timeout: Option<f64>) -> PyResult<()> {
        let payload = Payload::of(data)?;
        let type_id = args::type_id(type_id)?;
        let timeout = args::timeout(timeout)?;
        self.turn()?.outlet()?.send(py, &payload, type_id, 0, timeout)
    }

    /// Wait for a message and return a copy of it.
    #[pyo3(signature = (*, timeout=None, spin_threshold=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>, spin_threshold: Option<Integer>) -> PyResult<Message> {
        self.next_message(py, args::spins(spin_threshold)?, timeout)
    }

    /// Reserve `size` bytes in the ring to write in place; leaving the guard publishes them.
    #[pyo3(signature = (size, type_id=Integer::Fits(0), *, timeout=None), text_signature = "($self, size, type_id=0, *, timeout=None)")]
    fn send_zero_copy(
        slf: &Bound<'_, Self>,
        size: Integer,
        type_id: Integer,
        timeout: Option<f64>,
    ) -> PyResult<TxGuard> {
        let size = args::size("size", size)?;
        let type_id = args::type_id(type_id)?;
        let timeout = args::timeout(timeout)?;
        let room = slf.get().turn()?.outlet()?.lend(slf.py(), size, timeout)?;
        Ok(TxGuard::new(slf.clone().unbind(), room, type_id))
    }

    /// Wait for a message and lend it in place; leaving the guard gives its room back to the sender.
    #[pyo3(signature = (*, timeout=None, spin_threshold=None))]
    fn recv_zero_copy(
        slf: &Bound<'_, Self>,
        timeout: Option<f64>,
        spin_threshold: Option<Integer>,
    ) -> PyResult<RxGuard> {
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let mut line = slf.get().turn()?;
        let inlet = line.inlet()?;
        let taking = inlet.take(slf.py(), spins, timeout)?;
        inlet.lend(taking);
        Ok(RxGuard::new(slf.clone().unbind(), taking))
    }

    /// Wait for one message, then lend it and those behind it, at most `max_msgs`, in one crossing.
    #[pyo3(
        signature = (max_msgs=Integer::Fits(1024), spin_threshold=None, *, timeout=None),
        text_signature = "($self, max_msgs=1024, spin_threshold=None, *, timeout=None)"
    )]
    fn drain_batch(
        slf: &Bound<'_, Self>,
        max_msgs: Integer,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<RxBatchGuard> {
        let max = args::count("max_msgs", max_msgs)?;
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let batch = slf.get().turn()?.inlet()?.lend_batch(slf.py(), max, spins, timeout)?;
        Ok(RxBatchGuard::new(slf.clone().unbind(), batch))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        match self.next_message(py, None, None) {
            Err(end) if end.is_instance_of::<PeerClosedError>(py) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().lifetime.open()?;
        Ok(slf)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(&self, exc_type: &Bound<'_, PyAny>, exc_value: &Bound<'_, PyAny>, traceback: &Bound<'_, PyAny>) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }

    fn __repr__(&self) -> String {
        self.lifetime.describe("Bus")
    }
}
