//! `BusView`: an `RpcBus` with settings for each call.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::args::{self, Integer};
use crate::memory::buffer_export::type_name;
use crate::memory::payload::Payload;
use crate::rpc::caller_end::CallOptions;
use crate::rpc::metadata::Metadata;
use crate::rpc::rpc_bus::RpcBus;
use crate::rpc::stream::{Opening, Stream};

/// A bus from `RpcBus.within` or `RpcBus.metadata`, with settings for each call.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct BusView {
    bus: Py<RpcBus>,
    seconds: Option<f64>,
    metadata: Option<Py<Metadata>>,
}

/// The bus of a call.
pub(crate) enum Target<'py> {
    /// A bus, and a timeout in seconds.
    Bus(Bound<'py, RpcBus>, Option<f64>),
    /// A view with metadata.
    View(Bound<'py, BusView>),
}

impl<'py> Target<'py> {
    /// # Errors
    /// `TypeError` for any other object.
    #[inline]
    pub(crate) fn of(bus: &Bound<'py, PyAny>) -> PyResult<Self> {
        match bus.cast::<RpcBus>() {
            Ok(bus) => Ok(Self::Bus(bus.clone(), None)),
            Err(_) => Self::of_view(bus),
        }
    }

    fn of_view(bus: &Bound<'py, PyAny>) -> PyResult<Self> {
        let Ok(view) = bus.cast::<BusView>() else {
            return Err(PyTypeError::new_err(format!("calls are made on an RpcBus, not on {}", type_name(bus)?)));
        };
        let BusView { bus, seconds, metadata } = view.get();
        match metadata {
            None => Ok(Self::Bus(bus.bind(view.py()).clone(), *seconds)),
            Some(_) => Ok(Self::View(view.clone())),
        }
    }

    /// The bus, its timeout in seconds, and its metadata.
    pub(crate) fn parts(&self) -> (Bound<'py, RpcBus>, Option<f64>, Option<Bound<'py, Metadata>>) {
        match self {
            Self::Bus(bus, seconds) => (bus.clone(), *seconds, None),
            Self::View(view) => {
                let BusView { bus, seconds, metadata } = view.get();
                let py = view.py();
                (bus.bind(py).clone(), *seconds, metadata.as_ref().map(|metadata| metadata.bind(py).clone()))
            }
        }
    }
}

impl BusView {
    pub(crate) fn new(bus: Py<RpcBus>, seconds: Option<f64>, metadata: Option<Py<Metadata>>) -> Self {
        Self { bus, seconds, metadata }
    }
}

#[pymethods]
impl BusView {
    /// Return the bus with these settings, and with a timeout for each call in place of the view's.
    #[pyo3(text_signature = "($self, seconds)")]
    fn within(&self, seconds: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = seconds.py();
        let metadata = self.metadata.as_ref().map(|metadata| metadata.clone_ref(py));
        Ok(Self::new(self.bus.clone_ref(py), Some(args::within(seconds)?), metadata))
    }

    /// Return the bus with these settings, and with one entry of metadata more for each call.
    #[pyo3(text_signature = "($self, key, value)")]
    fn metadata(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let metadata = Metadata::with_entry(self.metadata.as_ref().map(Py::get), key, value)?;
        Ok(Self::new(self.bus.clone_ref(key.py()), self.seconds, Some(metadata)))
    }

    /// Send a request with these settings, as `RpcBus.start` does, and return its correlation id.
    fn start(&self, py: Python<'_>, payload: &Bound<'_, PyAny>, msg_type: Integer) -> PyResult<u64> {
        let payload = Payload::of(payload)?;
        let options = CallOptions {
            type_id: u32::from(args::msg_type(msg_type)?),
            spins: None,
            limit: args::limit(self.seconds)?,
            idempotent: false,
            contract: None,
        };
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        self.bus.get().start_with(py, &payload, options, self.seconds, metadata)
    }

    /// Open a stream with these settings, as `RpcBus.stream` does. A `timeout` beside the view's: the shorter one counts.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn stream(
        &self,
        py: Python<'_>,
        msg_type: Integer,
        payload: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Stream> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let timeout = args::sooner(timeout, self.seconds);
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata, contract: None };
        Stream::open(self.bus.bind(py), &payload, &opening)
    }

    /// Open a stream from a coroutine with these settings, as `RpcBus.astream` does.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn astream<'py>(
        &self,
        py: Python<'py>,
        msg_type: Integer,
        payload: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let timeout = args::sooner(timeout, self.seconds);
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata, contract: None };
        opening.awaited(self.bus.bind(py).as_any(), &payload)
    }

    fn __repr__(&self) -> String {
        let within = self.seconds.map(|seconds| format!(" within {seconds} seconds")).unwrap_or_default();
        // Without the values, which may be secrets.
        let keys = self.metadata.as_ref().map(|metadata| metadata.get().keys().collect::<Vec<_>>().join(", "));
        let with = keys.map(|keys| format!(" with metadata {keys}")).unwrap_or_default();
        format!("<tachyon.RpcBus{within}{with}>")
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bus)?;
        visit.call(&self.metadata)
    }
}
