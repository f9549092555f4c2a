//! The calls of an endpoint: its methods in Python, their arguments, and the exchange of request and reply.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyString, PyTuple, PyType};
use tachyon::__binding::ReplyTaken;
use tachyon::PollingMode;

use crate::args::{self, Integer};
use crate::memory::buffer_export::{copied_from, read_from, type_name};
use crate::memory::payload::Payload;
use crate::rpc::caller_end::CallOptions;
use crate::rpc::contract::{Arguments, Contract, Encoded};
use crate::rpc::endpoint::RpcEndpoint;
use crate::rpc::guards::RpcRxGuard;
use crate::rpc::layers::Shown;
use crate::rpc::metadata::Metadata;
use crate::rpc::rpc_bus::{RpcBus, Target, reply_guard, with_metadata};
use crate::rpc::stream::{Opening, Stream};
use crate::runtime::package::imported;

/// The error for a call without its payload of bytes.
fn no_payload() -> PyErr {
    PyTypeError::new_err("this endpoint takes bytes: endpoint.call(bus, payload)")
}

/// The arguments of an endpoint with one parameter or none, as in the seed: `(payload=None, on_response=None,
/// spin_threshold=None, *, timeout=None)`.
#[derive(Default)]
struct SingleArguments<'py> {
    payload: Option<Bound<'py, PyAny>>,
    on_response: Option<Bound<'py, PyAny>>,
    spin_threshold: Option<Bound<'py, PyAny>>,
    timeout: Option<Bound<'py, PyAny>>,
}

impl<'py> SingleArguments<'py> {
    /// Parses the arguments. The value may also be passed by the name of the parameter. A coroutine's call takes only
    /// the value by position.
    #[inline]
    fn of(
        method: &str,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        contract: Option<&Contract>,
    ) -> PyResult<Self> {
        // `get_item` beyond the end would make an exception.
        let get = |at: usize| if at < args.len() { args.get_item(at).ok() } else { None };
        let given = |value: Option<Bound<'py, PyAny>>| value.filter(|value| !value.is_none());
        let on_response = given(get(1));
        let most = if method == "call" { 3 } else { 1 };
        // A surplus argument lands in the place of `on_response`.
        let is_surplus = on_response.as_ref().is_some_and(|function| !function.is_callable());
        if args.len() > most || is_surplus {
            return Err(Self::too_many(method, most, args, contract));
        }
        let mut found = Self { payload: get(0), on_response, spin_threshold: get(2), timeout: None };
        if let Some(kwargs) = kwargs {
            let own = contract.and_then(|contract| contract.parameter(args.py()));
            for (key, value) in kwargs.iter() {
                found.take(method, &key, value, own)?;
            }
        }
        found.on_response = given(found.on_response);
        found.spin_threshold = given(found.spin_threshold);
        found.timeout = given(found.timeout);
        match &found.on_response {
            Some(function) if !function.is_callable() => Err(Self::no_function(function)),
            _ => Ok(found),
        }
    }

    #[cold]
    fn too_many(method: &str, most: usize, args: &Bound<'py, PyTuple>, contract: Option<&Contract>) -> PyErr {
        match contract {
            Some(contract) => contract.too_many(args.len()),
            None if args.len() > most => {
                let (least, most, given) = (1, most + 1, args.len() + 1);
                let message =
                    format!("{method}() takes from {least} to {most} positional arguments but {given} were given");
                PyTypeError::new_err(message)
            }
            None => args.get_item(1).map_or_else(|raised| raised, |given| Self::no_function(&given)),
        }
    }

    #[cold]
    fn no_function(given: &Bound<'py, PyAny>) -> PyErr {
        match type_name(given) {
            Ok(name) => PyTypeError::new_err(format!("on_response is a function that gets the reply, not {name}")),
            Err(raised) => raised,
        }
    }

    fn take(
        &mut self,
        method: &str,
        key: &Bound<'py, PyAny>,
        value: Bound<'py, PyAny>,
        own: Option<&Bound<'py, PyString>>,
    ) -> PyResult<()> {
        let name = key.cast::<PyString>()?.to_string_lossy().into_owned();
        let is_own = own.is_some_and(|own| own.to_string_lossy() == name);
        let place = match name.as_str() {
            // First: a parameter may have the name of a setting.
            _ if is_own => &mut self.payload,
            "timeout" => &mut self.timeout,
            "on_response" if method == "call" => &mut self.on_response,
            "spin_threshold" if method == "call" => &mut self.spin_threshold,
            "payload" => &mut self.payload,
            _ => {
                let message = format!("{method}() got an unexpected keyword argument '{name}'");
                return Err(PyTypeError::new_err(message));
            }
        };
        if place.replace(value).is_some() {
            return Err(PyTypeError::new_err(format!("{method}() got multiple values for argument '{name}'")));
        }
        Ok(())
    }
}

/// The request of a coroutine.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct AsyncRequest {
    endpoint: Py<RpcEndpoint>,
    #[pyo3(get)]
    payload: Py<PyAny>,
    /// Seconds that the call may take.
    #[pyo3(get)]
    timeout: Option<f64>,
    #[pyo3(get)]
    contract: Option<Py<Contract>>,
}

#[pymethods]
impl AsyncRequest {
    #[getter]
    fn msg_type(&self) -> u16 {
        self.endpoint.get().msg_type
    }

    /// The endpoint's name.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        RpcEndpoint::name(self.endpoint.bind(py))
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.endpoint)?;
        visit.call(&self.payload)?;
        visit.call(&self.contract)
    }
}

/// A request with its settings.
struct Call<'py> {
    written: Encoded<'py>,
    on_response: Option<Bound<'py, PyAny>>,
    spins: Option<PollingMode>,
    timeout: Option<f64>,
}

impl RpcEndpoint {
    /// The bus of a call, which may be a keyword as in the seed.
    #[inline]
    fn target<'py>(
        &self,
        method: &str,
        bus: Option<&Bound<'py, PyAny>>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Target<'py>> {
        if let Some(bus) = bus {
            return Target::of(bus);
        }
        let named = match kwargs {
            Some(kwargs) if self.contract.as_ref().is_none_or(|contract| contract.get().is_single()) => {
                let named = kwargs.get_item("bus")?;
                if named.is_some() {
                    kwargs.del_item("bus")?;
                }
                named
            }
            _ => None,
        };
        match named {
            Some(bus) => Target::of(&bus),
            None => Err(PyTypeError::new_err(format!("{method}() missing 1 required positional argument: 'bus'"))),
        }
    }

    /// Encodes the request and reads the settings of a call.
    #[inline]
    fn prepare<'py>(
        &self,
        method: &str,
        within: Option<f64>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Call<'py>> {
        let contract = self.contract.as_ref().map(Py::get);
        let arguments = contract.map_or(Arguments::Seed, Contract::arguments);
        if arguments == Arguments::Seed {
            let SingleArguments { payload, on_response, spin_threshold, timeout } =
                SingleArguments::of(method, args, kwargs, contract)?;
            let written = match (contract, payload) {
                (None, Some(payload)) if !payload.is_none() => Encoded::Object(payload),
                (None, _) => return Err(no_payload()),
                (Some(contract), payload) => Self::single(contract, args.py(), payload)?,
            };
            let spins = args::spins(spin_threshold.map(|given| given.extract()).transpose()?)?;
            let timeout = args::sooner(timeout.map(|given| given.extract()).transpose()?, within);
            return Ok(Call { written, on_response, spins, timeout });
        }
        let Some(contract) = contract.filter(|_| arguments == Arguments::Function) else {
            return Err(self.not_called());
        };
        let written = contract.request(&contract.bind(args, kwargs)?)?;
        Ok(Call { written, on_response: None, spins: None, timeout: within })
    }

    /// Encodes the request of a typed endpoint with one parameter, or none.
    #[inline]
    fn single<'py>(contract: &Contract, py: Python<'py>, payload: Option<Bound<'py, PyAny>>) -> PyResult<Encoded<'py>> {
        match payload {
            // A call as in the seed may pass None for an empty request.
            Some(payload) if payload.is_none() && contract.takes_nothing() => Ok(Encoded::Empty),
            Some(payload) if payload.is_none() && contract.takes_bytes() => Err(no_payload()),
            Some(payload) if contract.takes_nothing() => {
                contract.request(&contract.bind(&PyTuple::new(py, [payload])?, None)?)
            }
            Some(payload) => contract.request(core::slice::from_ref(&payload)),
            None => contract.request(&contract.bind(&PyTuple::empty(py), None)?),
        }
    }

    /// Sends a request and waits. Returns the value of the reply, or the result of `on_response` for its bytes.
    #[inline]
    fn exchange<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, RpcBus>,
        call: &Call<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = bus.py();
        let Call { on_response, .. } = call;
        let own = slf.get().contract.as_ref().map(Py::get);
        let payload = call.payload()?;
        let options = slf.get().options(call)?;
        let mut forward = bus.get().forward()?;
        let calling = match forward.calling() {
            Ok(calling) => calling,
            Err(refused) => {
                let is_layered = forward.is_layered();
                drop(forward);
                return if is_layered { Self::exchange_with(slf, bus, call, None) } else { Err(refused) };
            }
        };
        let (correlation_id, reply) = calling.request(py, &payload, &options)?;
        if let (ReplyTaken::InPlace(taking), None) = (&reply, on_response)
            && tachyon::type_id::msg_type(taking.type_id()) != tachyon::type_id::MSG_TYPE_ERROR
        {
            let value = match own {
                Some(contract) => read_from(*taking, |bytes| contract.value(py, bytes, false)),
                None => copied_from(py, *taking).map(Bound::into_any),
            };
            calling.release(taking.position());
            return value;
        }
        let guard = Bound::new(py, reply_guard(bus, calling, correlation_id, reply))?;
        drop(forward);
        if let Some(error) = guard.get().error(py, own)? {
            return Err(error);
        }
        Self::read(&guard, on_response.as_ref(), own)
    }
}

/// The settings of a stream, which are keywords beside the arguments of the endpoint.
#[derive(Default)]
struct StreamSettings {
    timeout: Option<f64>,
    item_timeout: Option<f64>,
    window: Option<Integer>,
}

impl StreamSettings {
    /// Takes the settings out of the keywords. A parameter of the function with the name of a setting comes first.
    fn take(contract: &Contract, kwargs: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = kwargs.py();
        let take = |name: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
            let given = kwargs.get_item(name)?;
            if given.is_none() || contract.has_parameter(py, name)? {
                return Ok(None);
            }
            kwargs.del_item(name)?;
            Ok(given.filter(|given| !given.is_none()))
        };
        Ok(Self {
            timeout: take("timeout")?.map(|given| given.extract()).transpose()?,
            item_timeout: take("item_timeout")?.map(|given| given.extract()).transpose()?,
            window: take("window")?.map(|given| given.extract()).transpose()?,
        })
    }
}

impl RpcEndpoint {
    /// The error for a call of a stream.
    #[cold]
    fn not_called(&self) -> PyErr {
        let name = self.contract.as_ref().map_or("", |contract| contract.get().name());
        PyTypeError::new_err(format!(
            "{name} is a stream, which is opened and not called: `with {name}.stream(bus, ...) as stream`, or \
             `async with {name}.astream(bus, ...) as stream`"
        ))
    }

    /// Encodes the request of a stream, and runs `open` with its settings.
    fn opened<'py, T>(
        slf: &Bound<'py, Self>,
        (within, metadata): (Option<f64>, Option<Bound<'py, Metadata>>),
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        open: impl FnOnce(&Payload<'_, 'py>, &Opening<'_, 'py>) -> PyResult<T>,
    ) -> PyResult<T> {
        let (py, name) = (slf.py(), Self::name(slf)?);
        let of_stream = |contract: &&Py<Contract>| contract.get().arguments() == Arguments::Stream;
        let Some(contract) = slf.get().contract.as_ref().filter(of_stream) else {
            return Err(PyTypeError::new_err(format!(
                "{name} has one reply and is no stream: `{name}.call(bus, ...)`, or `await {name}.acall(bus, ...)`"
            )));
        };
        let kwargs = kwargs.map_or_else(|| Ok(PyDict::new(py)), PyDictMethods::copy)?;
        let StreamSettings { timeout, item_timeout, window } = StreamSettings::take(contract.get(), &kwargs)?;
        let written = contract.get().request(&contract.get().bind(args, Some(&kwargs))?)?;
        let opening = Opening {
            msg_type: slf.get().msg_type,
            name: &name,
            timeout: args::sooner(timeout, within),
            item_timeout,
            window,
            metadata,
            contract: Some(contract),
        };
        open(&written.payload()?, &opening)
    }
}

impl<'py> Call<'py> {
    /// The bytes of the request.
    #[inline]
    fn payload(&self) -> PyResult<Payload<'_, 'py>> {
        self.written.payload()
    }
}

impl RpcEndpoint {
    #[inline]
    fn options(&self, call: &Call<'_>) -> PyResult<CallOptions<'_>> {
        let contract = self.contract.as_ref().map(Py::get).filter(|contract| contract.is_typed());
        let (type_id, limit) = (u32::from(self.msg_type), args::limit(call.timeout)?);
        Ok(CallOptions { type_id, spins: call.spins, limit, idempotent: self.idempotent, contract })
    }

    /// As [`exchange`](Self::exchange), with metadata, and with the layers of the bus.
    #[cold]
    fn exchange_with<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, RpcBus>,
        call: &Call<'py>,
        metadata: Option<Bound<'py, Metadata>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = bus.py();
        let own = slf.get().contract.as_ref().map(Py::get);
        let payload = call.payload()?;
        let options = slf.get().options(call)?;
        let (name, size) = (Self::name(slf)?, payload.as_slice().len());
        let shown = Shown {
            msg_type: slf.get().msg_type,
            name: &name,
            size,
            timeout: call.timeout,
            metadata: metadata.as_ref(),
        };
        let seen = bus.get().show(py, &shown)?;
        let metadata = match &seen {
            Some(seen) => seen.metadata(py)?,
            None => metadata,
        };
        let taken = with_metadata(&payload, options, metadata.as_ref(), |payload, options| {
            let mut forward = bus.get().forward()?;
            let calling = forward.calling_beside_layers()?;
            let (correlation_id, reply) = calling.request(py, payload, options)?;
            let guard = Bound::new(py, reply_guard(bus, calling, correlation_id, reply))?;
            drop(forward);
            match guard.get().error(py, own)? {
                Some(error) => Err(error),
                None => Ok(guard),
            }
        });
        let guard = match (&seen, taken) {
            (_, Ok(guard)) => guard,
            (None, Err(error)) => return Err(error),
            (Some(seen), Err(error)) => {
                seen.failed(py, &error)?;
                return Err(error);
            }
        };
        let size = guard.get().len();
        let value = Self::read(&guard, call.on_response.as_ref(), own);
        // A layer may call on this bus, which the guard keeps busy.
        drop(guard);
        if let Some(seen) = seen {
            seen.replied(py, size)?;
        }
        value
    }

    /// The value of a reply, or the result of `on_response` for its bytes.
    fn read<'py>(
        guard: &Bound<'py, RpcRxGuard>,
        on_response: Option<&Bound<'py, PyAny>>,
        own: Option<&Contract>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = guard.py();
        match (on_response, own) {
            (Some(function), _) => RpcRxGuard::call_with_view(guard, function),
            (None, None) => guard.get().to_bytes(py).map(Bound::into_any),
            (None, Some(contract)) => contract.value(py, guard.get().to_bytes(py)?.as_bytes(), true),
        }
    }
}

#[pymethods]
impl RpcEndpoint {
    #[new]
    #[pyo3(
        signature = (fn_, msg_type, *, idempotent=false, raises=None),
        text_signature = "(fn, msg_type, *, idempotent=False, raises=None)"
    )]
    fn new<'py>(
        fn_: &Bound<'py, PyAny>,
        msg_type: Integer,
        idempotent: bool,
        raises: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        Self::bind(fn_, args::msg_type(msg_type)?, idempotent, raises, None)
    }

    /// An endpoint with the same contract, and with another function that serves.
    fn __tachyon_bind__<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let contract = self.contract.as_ref().map(|contract| contract.clone_ref(function.py()));
        Self::by_contract(function, self.msg_type, self.idempotent, contract)
    }

    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static ALIAS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        ALIAS.import(cls.py(), "types", "GenericAlias")?.call1((cls, item))
    }

    /// Whether the callee may handle a request twice. Such a request is sent again to the next peer when a peer is
    /// lost.
    #[getter]
    fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// The message type of its requests and replies.
    #[getter]
    fn msg_type(&self) -> u16 {
        self.msg_type
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let function = self.function.bind(args.py());
        let takes_view = self.contract.as_ref().is_none_or(|contract| contract.get().takes_view());
        if !takes_view || kwargs.is_some() || args.len() != 1 {
            return function.call(args, kwargs);
        }
        let payload = args.get_item(0)?;
        if payload.is_instance_of::<PyMemoryView>() {
            return function.call1(args);
        }
        // A payload that cannot be sent is refused here too.
        Payload::of(&payload)?;
        function.call1((PyMemoryView::from(&payload)?,))
    }

    /// Call the peer's function with its arguments, by position or name, and return its reply.
    ///
    /// An error reply raises the error that the endpoint declares, `RpcError`, or `NoHandlerError` if the peer does not
    /// know the message type. The first call on a connection compares the endpoint's types with the peer's; if they
    /// differ, this raises `LayoutMismatchError` and calls nothing. `endpoint.call(bus.within(0.5), ...)` limits the
    /// call: the deadline travels with the request, and the handler sees it in `current_call()`.
    ///
    /// With one parameter, or none, the signature is `call(bus, payload=None, on_response=None, spin_threshold=None, *,
    /// timeout=None)`: `on_response` gets a memoryview of the reply's bytes in place, valid during the call only.
    #[pyo3(signature = (bus=None, /, *args, **kwargs), text_signature = "($self, bus, /, *args, **kwargs)")]
    fn call<'py>(
        slf: &Bound<'py, Self>,
        bus: Option<&Bound<'py, PyAny>>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().target("call", bus, kwargs)? {
            Target::Bus(bus, within) => {
                let call = slf.get().prepare("call", within, args, kwargs)?;
                Self::exchange(slf, &bus, &call)
            }
            view @ Target::View(_) => {
                let (bus, within, metadata) = view.parts();
                let call = slf.get().prepare("call", within, args, kwargs)?;
                Self::exchange_with(slf, &bus, &call, metadata)
            }
        }
    }

    /// Call the peer's function from a coroutine, with its arguments, by position or name, and return its reply.
    ///
    /// Any number of calls may be in flight on one bus, which belongs to the running event loop from the first call on;
    /// calls wait in a queue while the ring is full. A call that is cancelled or times out is forgotten: the bus stays
    /// usable, and a late reply is dropped. Arguments are read at once, and may change while the call is in flight.
    /// Errors are those of `call`. With one parameter, or none, the signature is `acall(bus, payload=None, *,
    /// timeout=None)`.
    #[pyo3(signature = (bus=None, /, *args, **kwargs), text_signature = "($self, bus, /, *args, **kwargs)")]
    fn acall<'py>(
        slf: &Bound<'py, Self>,
        bus: Option<&Bound<'py, PyAny>>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (bus, within, metadata) = slf.get().target("acall", bus, kwargs)?.parts();
        let request = Self::request(slf, within, args, kwargs)?;
        imported!(py, "tachyon._calls", "acall")?.call1((bus, request, metadata, slf.get().idempotent))
    }

    /// Open the peer's stream with the arguments of its function, by position or name.
    ///
    /// The stream is an iterator of the values that the callee yields, and `send` takes the values of the caller's
    /// items, which are no argument here. `timeout`, in seconds, is for the whole stream, `item_timeout` for each wait;
    /// the callee may send `window` items ahead. An error that the endpoint declares is raised after the items before
    /// it.
    #[pyo3(
        signature = (bus, /, *args, **kwargs),
        text_signature = "($self, bus, /, *args, timeout=None, item_timeout=None, window=None, **kwargs)"
    )]
    fn stream<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Stream> {
        let (bus, within, metadata) = Target::of(bus)?.parts();
        Self::opened(slf, (within, metadata), args, kwargs, |payload, opening| Stream::open(&bus, payload, opening))
    }

    /// Open the peer's stream from a coroutine: `async with endpoint.astream(bus, ...) as stream`.
    ///
    /// Parameters are those of `stream`. The stream opens when the block is entered, or with its first operation. The
    /// bus belongs to the running event loop, as `acall` says.
    #[pyo3(
        signature = (bus, /, *args, **kwargs),
        text_signature = "($self, bus, /, *args, timeout=None, item_timeout=None, window=None, **kwargs)"
    )]
    fn astream<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (bus, within, metadata) = Target::of(bus)?.parts();
        Self::opened(slf, (within, metadata), args, kwargs, |payload, opening| opening.awaited(bus.as_any(), payload))
    }

    /// The stream of a coroutine on a bus that `lender` lends.
    #[pyo3(name = "__tachyon_astream__")]
    fn astream_on_lent<'py>(
        slf: &Bound<'py, Self>,
        lender: &Bound<'py, PyAny>,
        within: Option<f64>,
        metadata: Option<Bound<'py, Metadata>>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let open = |payload: &Payload<'_, 'py>, opening: &Opening<'_, 'py>| opening.awaited(lender, payload);
        Self::opened(slf, (within, metadata), args, Some(kwargs), open)
    }

    /// Whether items travel in one of the directions.
    #[getter(__tachyon_streams__)]
    fn is_opened(&self) -> bool {
        self.is_stream()
    }

    /// The request of a call from a coroutine, with its bytes at the time of the call.
    #[pyo3(name = "__tachyon_request__")]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        within: Option<f64>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<AsyncRequest> {
        let (py, this) = (args.py(), slf.get());
        let Call { written, timeout, .. } = this.prepare("acall", within, args, kwargs)?;
        let payload = match written {
            Encoded::Empty => PyBytes::new(py, &[]).into_any(),
            Encoded::Scratch(scratch) => PyBytes::new(py, &scratch).into_any(),
            // The coroutine sends later, and the object may have other bytes by then.
            Encoded::Object(object) if !object.is_exact_instance_of::<PyBytes>() => {
                PyBytes::new(py, Payload::of(&object)?.as_slice()).into_any()
            }
            Encoded::Object(object) => object,
        };
        Ok(AsyncRequest {
            endpoint: slf.clone().unbind(),
            payload: payload.unbind(),
            timeout,
            contract: this.contract.as_ref().map(|contract| contract.clone_ref(py)),
        })
    }

    /// Whether `timeout` is a setting of the endpoint's calls: it has one parameter or none, with another name.
    #[getter(__tachyon_timeout__)]
    fn takes_timeout(&self, py: Python<'_>) -> bool {
        let Some(contract) = self.contract.as_ref().map(Py::get) else { return true };
        match contract.arguments() {
            Arguments::Seed => contract.parameter(py).is_none_or(|own| own != "timeout"),
            Arguments::Stream => contract.has_parameter(py, "timeout").is_ok_and(|has| !has),
            Arguments::Function => false,
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.getattr(intern!(slf.py(), "__name__"))?.repr()?;
        Ok(format!("RpcEndpoint(msg_type={}, fn={name})", slf.get().msg_type))
    }

    /// Pickles as functions do, by the name of the import; a copy of an endpoint is the endpoint itself.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "__qualname__"))
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.contract)
    }
}
