//! The decorators that make an endpoint: `tachyon_rpc` and the object that `dispatcher.handler` returns.

use pyo3::intern;
use pyo3::prelude::*;

use crate::args;
use crate::rpc::contract::Contract;
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::package::imported;
use crate::serve::endpoint_table::RpcDispatcher;

/// Turns a function into an endpoint: the result of `tachyon_rpc(...)` and `dispatcher.handler(...)`.
#[pyclass(module = "tachyon", frozen)]
pub(crate) struct EndpointDecorator {
    msg_type: u16,
    idempotent: bool,
    /// The errors that the endpoint declares.
    raises: Option<Py<PyAny>>,
    codec: Option<Py<PyAny>>,
    dispatcher: Option<Py<RpcDispatcher>>,
}

impl EndpointDecorator {
    pub(crate) fn registering(
        msg_type: u16,
        idempotent: bool,
        raises: Option<Py<PyAny>>,
        codec: Option<Py<PyAny>>,
        dispatcher: Py<RpcDispatcher>,
    ) -> Self {
        Self { msg_type, idempotent, raises, codec, dispatcher: Some(dispatcher) }
    }
}

#[pymethods]
impl EndpointDecorator {
    fn __call__<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let raises = self.raises.as_ref().map(|raises| raises.bind(function.py()));
        let codec = self.codec.as_ref().map(|codec| codec.bind(function.py()));
        match &self.dispatcher {
            None if self.declare(function, raises, codec)? => Ok(function.clone()),
            None => Ok(RpcEndpoint::bind(function, self.msg_type, self.idempotent, raises, codec)?.into_any()),
            Some(dispatcher) => {
                let endpoint = RpcEndpoint::bind(function, self.msg_type, self.idempotent, raises, codec)?;
                dispatcher.get().add(&endpoint)?;
                Ok(endpoint.into_any())
            }
        }
    }

    fn __repr__(&self) -> String {
        format!("tachyon_rpc(msg_type={})", self.msg_type)
    }
}

impl EndpointDecorator {
    /// Declares a method, in the body of a Service: the function gets its endpoint as an attribute. False elsewhere.
    fn declare<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        raises: Option<&Bound<'py, PyAny>>,
        codec: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = function.py();
        let found = imported!(py, "tachyon._service", "declared")?.call1((function, self.msg_type, raises, codec))?;
        let Some(contract) = found.extract::<Option<Py<Contract>>>()? else { return Ok(false) };
        let endpoint = RpcEndpoint::by_contract(function, self.msg_type, self.idempotent, Some(contract))?;
        function.setattr(intern!(py, "__tachyon_endpoint__"), endpoint)?;
        Ok(true)
    }
}

/// Bind a function to a message type, 0 to 65534.
///
/// The type hints of the function say the types of request and reply. Without hints the function gets a memoryview of
/// the request in place, valid during the call only, and returns any bytes-like object. With a `Struct`, an `Array`, a
/// number or a numpy array as hint the function gets, or returns, such a value; a function without a parameter takes an
/// empty request. A request that does not decode never reaches the function. An `async def` function gets a copy of the
/// request, and is served by `aserve`.
///
/// The function's name is the endpoint's. A lambda, a `functools.partial` or another callable whose name is no
/// identifier becomes `endpoint_2` for message type 2. A function to which no request can be passed is refused: one
/// with `self`, `*args`, or keyword-only parameters.
///
/// A generator, and a function with the hint `-> Iterator[T]`, answers with a stream of items. A last parameter with
/// the hint `Iterator[T]` is the stream of the caller's items, and such a function runs on a thread of its own. With
/// `AsyncIterator` both are for `async def`.
///
/// The endpoint is still callable as the function was; its `call` and `acall` methods call the peer's. `idempotent`
/// allows a bus that reconnects to send a request again to the next peer when a peer is lost.
///
/// `codec="msgpack"` sends any types that msgspec knows: a request is a map from the names of the arguments to their
/// values, a reply is the value.
///
/// In the body of a `Service` the decorator declares a method, and leaves the function as it is.
#[pyfunction]
#[pyo3(signature = (msg_type, *, idempotent=false, raises=None, codec=None))]
pub(crate) fn tachyon_rpc(
    msg_type: &Bound<'_, PyAny>,
    idempotent: bool,
    raises: Option<Py<PyAny>>,
    codec: Option<Py<PyAny>>,
) -> PyResult<EndpointDecorator> {
    let msg_type = args::decorated_msg_type("tachyon_rpc", msg_type)?;
    Ok(EndpointDecorator { msg_type, idempotent, raises, codec, dispatcher: None })
}
