//! Contracts: the types that an endpoint's hints say. `tachyon._contract` reads the hints, and this module applies
//! them.

use core::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString, PyTuple, PyType};
use tachyon::__binding::{CallerSteps, Place, error_fields};
use tachyon::Caller;
use tachyon::describe::{Description, EndpointDescription};

use crate::errors::{BadReplyError, BadRequestError};
use crate::memory::buffer_export::type_name;
use crate::memory::payload::{Payload, has_buffer};
use crate::runtime::invoke::call_one;
use crate::runtime::package::imported;
use crate::values::plan::{Plan, plan_mismatch};
use crate::values::read;
use crate::values::write::{self, Scratch};

/// The form of a request or a reply.
pub(crate) enum Form {
    Empty,
    /// Bytes in place.
    View,
    /// A copy of the bytes.
    Bytes,
    ByteArray,
    /// One value.
    Value(Py<Plan>),
    /// Arguments, or an option, as the fields of a head.
    Fields(Py<Plan>),
    /// Values in msgpack: `tachyon._msgpack` encodes and decodes.
    Packed {
        encode: Py<PyAny>,
        decode: Py<PyAny>,
    },
}

impl Form {
    fn of(kind: &str, parts: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        if let ("msgpack", Some(codec)) = (kind, &parts) {
            let (encode, decode) = codec.extract()?;
            return Ok(Self::Packed { encode, decode });
        }
        let plan = match parts {
            Some(plan) => Some(plan.cast_into::<Plan>()?.unbind()),
            None => None,
        };
        Ok(match (kind, plan) {
            ("empty", None) => Self::Empty,
            ("view", None) => Self::View,
            ("bytes", None) => Self::Bytes,
            ("bytearray", None) => Self::ByteArray,
            ("value", Some(plan)) => Self::Value(plan),
            ("fields", Some(plan)) => Self::Fields(plan),
            _ => return Err(PyValueError::new_err(format!("there is no form {kind}"))),
        })
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self, Self::View | Self::Bytes | Self::ByteArray)
    }

    fn plan(&self) -> Option<&Py<Plan>> {
        match self {
            Self::Value(plan) | Self::Fields(plan) => Some(plan),
            _ => None,
        }
    }

    /// Whether a value of this form may be a view of the message.
    fn reads_in_place(&self) -> bool {
        matches!(self, Self::View) || self.plan().is_some_and(|plan| plan.get().reads_in_place)
    }
}

/// A parameter of the endpoint.
struct Parameter {
    name: Py<PyString>,
    /// Whether the parameter is positional-only.
    by_position: bool,
    default: Option<Py<PyAny>>,
}

/// An error that the endpoint declares.
struct Raised {
    name: String,
    class: Py<PyType>,
    plan: Option<Py<Plan>>,
}

/// A message to send.
pub(crate) enum Encoded<'py> {
    Empty,
    /// Bytes or an array, sent without a conversion.
    Object(Bound<'py, PyAny>),
    Scratch(Scratch),
}

impl<'py> Encoded<'py> {
    /// The bytes of the message.
    #[inline]
    pub(crate) fn payload(&self) -> PyResult<Payload<'_, 'py>> {
        match self {
            Self::Empty => Ok(Payload::Written(&[])),
            Self::Scratch(scratch) => Ok(Payload::Written(scratch)),
            Self::Object(object) => Payload::of(object),
        }
    }

    /// The object to send, if the message is one.
    pub(crate) fn as_object(&self) -> Option<&Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Empty | Self::Scratch(_) => None,
        }
    }
}

/// The arguments of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Those of the seed: the value of a function of one parameter or none, with settings.
    Seed,
    /// Those of the function.
    Function,
    /// None: a stream is opened, and not called.
    Stream,
}

/// The byte of an empty map in msgpack.
const NO_ARGUMENTS: u8 = 0x80;

/// The contract of one endpoint.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Contract {
    name: String,
    request: Form,
    /// The caller's items.
    items: Option<Form>,
    /// The reply, or each item of a stream of replies.
    reply: Form,
    /// `the reply`, or `an item`.
    reply_place: &'static str,
    parameters: Vec<Parameter>,
    raises: Vec<Raised>,
    description: EndpointDescription,
    json: String,
    /// Identifies agreements. Keys of the core are addresses, which are even; these keys are odd.
    #[pyo3(get)]
    key: usize,
    /// Whether the two sides can differ in the messages of the endpoint.
    #[pyo3(get)]
    typed: bool,
    arguments: Arguments,
}

impl Contract {
    /// The contract in a function's hints; `None` when the hints say only bytes.
    pub(crate) fn of<'py>(
        function: &Bound<'py, PyAny>,
        msg_type: u16,
        raises: Option<&Bound<'py, PyAny>>,
        codec: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<Self>>> {
        let py = function.py();
        let found = imported!(py, "tachyon._contract", "contract_of")?.call1((function, msg_type, raises, codec))?;
        if found.is_none() { Ok(None) } else { Ok(Some(found.cast_into::<Self>()?.unbind())) }
    }

    pub(crate) fn description(&self) -> &EndpointDescription {
        &self.description
    }

    /// Whether items travel in one of the directions.
    pub(crate) fn is_stream(&self) -> bool {
        self.description.kind().is_stream()
    }

    pub(crate) fn is_typed(&self) -> bool {
        self.typed
    }

    /// The arguments that a call of the endpoint takes.
    #[inline]
    pub(crate) fn arguments(&self) -> Arguments {
        self.arguments
    }

    /// Whether the endpoint is a function of one parameter or none, and so takes the call arguments of the seed.
    pub(crate) fn is_single(&self) -> bool {
        self.arguments == Arguments::Seed
    }

    /// Whether the function has a parameter of this name, which callers may use.
    pub(crate) fn has_parameter(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        for own in &self.parameters {
            if !own.by_position && own.name.bind(py).to_str()? == name {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The endpoint's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the callee replies with a stream of items.
    pub(crate) fn streams(&self) -> bool {
        self.description.streams
    }

    /// Whether the callee takes a stream of items.
    pub(crate) fn takes_items(&self) -> bool {
        self.description.items.is_some()
    }

    pub(crate) fn takes_nothing(&self) -> bool {
        matches!(self.request, Form::Empty)
    }

    pub(crate) fn takes_bytes(&self) -> bool {
        self.request.is_raw()
    }

    /// Whether the function takes a view of the request's bytes.
    pub(crate) fn takes_view(&self) -> bool {
        matches!(self.request, Form::View)
    }

    /// Whether the handler must get the request in place.
    pub(crate) fn reads_in_place(&self) -> bool {
        self.request.reads_in_place()
    }

    /// The name of the only parameter.
    pub(crate) fn parameter<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyString>> {
        self.parameters.first().filter(|own| !own.by_position).map(|own| own.name.bind(py))
    }

    /// Binds arguments to parameters, by Python's rules for functions.
    pub(crate) fn bind<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = args.py();
        let (name, count) = (&self.name, self.parameters.len());
        if args.len() == count && kwargs.is_none_or(PyDictMethods::is_empty) {
            return Ok(args.iter().collect());
        }
        if args.len() > count {
            return Err(self.too_many(args.len()));
        }
        let mut values: Vec<Option<Bound<'py, PyAny>>> = args.iter().map(Some).collect();
        values.resize_with(count, || None);
        if let Some(kwargs) = kwargs {
            for (key, value) in kwargs.iter() {
                let at = self.place_of(&key)?;
                if values[at].is_some() {
                    return Err(PyTypeError::new_err(format!(
                        "{name}() got multiple values for argument {}",
                        key.repr()?
                    )));
                }
                values[at] = Some(value);
            }
        }
        let mut missing = Vec::new();
        for (value, own) in values.iter_mut().zip(&self.parameters) {
            if value.is_none() {
                match &own.default {
                    Some(default) => *value = Some(default.bind(py).clone()),
                    None => missing.push(own.name.bind(py).repr()?.to_string()),
                }
            }
        }
        if missing.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        let arguments = if missing.len() == 1 { "argument" } else { "arguments" };
        let last = missing.pop().unwrap_or_default();
        let names = match missing.as_slice() {
            [] => last.clone(),
            [one] => format!("{one} and {last}"),
            several => format!("{}, and {last}", several.join(", ")),
        };
        let count = missing.len() + 1;
        Err(PyTypeError::new_err(format!("{name}() missing {count} required positional {arguments}: {names}")))
    }

    /// The error for more arguments than parameters, in Python's words for functions.
    #[cold]
    pub(crate) fn too_many(&self, given: usize) -> PyErr {
        let (name, count) = (&self.name, self.parameters.len());
        let least = self.parameters.iter().filter(|own| own.default.is_none()).count();
        let takes = if least == count { count.to_string() } else { format!("from {least} to {count}") };
        let arguments = if count == 1 { "argument" } else { "arguments" };
        let were = if given == 1 { "1 was".to_owned() } else { format!("{given} were") };
        PyTypeError::new_err(format!("{name}() takes {takes} positional {arguments} but {were} given"))
    }

    fn place_of(&self, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = key.py();
        for (at, own) in self.parameters.iter().enumerate() {
            if !own.by_position && own.name.bind(py).as_any().eq(key)? {
                return Ok(at);
            }
        }
        let (name, key) = (&self.name, key.to_string());
        // The seed's calls take these settings beside the one value.
        let advice = match key.as_str() {
            "timeout" => "; limit the call by the bus: bus.within(0.5)",
            "on_response" => "; only an endpoint of one parameter has it",
            _ => "",
        };
        Err(PyTypeError::new_err(format!("{name}() got an unexpected keyword argument '{key}'{advice}")))
    }

    /// The message of a request.
    pub(crate) fn request<'py>(&self, values: &[Bound<'py, PyAny>]) -> PyResult<Encoded<'py>> {
        match (&self.request, values) {
            (Form::Empty, []) => Ok(Encoded::Empty),
            (Form::Value(plan), [value]) => {
                let own = self.parameters.first().map_or_else(String::new, |own| own.name.to_string());
                let place = format!("{}: {own}", self.name);
                write_value(plan.get(), value, &Place::Root(&place))
            }
            (Form::Packed { encode, .. }, values) if values.len() == self.parameters.len() => {
                let Some(py) = values.first().map(Bound::py) else {
                    let mut scratch = Scratch::take();
                    scratch.push(NO_ARGUMENTS);
                    return Ok(Encoded::Scratch(scratch));
                };
                let encoded = encode.bind(py).call1((PyTuple::new(py, values)?,));
                encoded.map(Encoded::Object).map_err(|error| self.named(values, error))
            }
            (Form::Packed { .. }, values) => Err(self.too_many(values.len())),
            (Form::Fields(plan), values) => {
                let mut scratch = Scratch::take();
                write::fields(plan.get(), values, &mut scratch).map_err(|error| self.named(values, error))?;
                Ok(Encoded::Scratch(scratch))
            }
            (_, [value]) => Ok(Encoded::Object(value.clone())),
            _ => Err(plan_mismatch()),
        }
    }

    /// The message of an item of the caller's stream.
    pub(crate) fn item<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Encoded<'py>> {
        let written = match &self.items {
            Some(Form::Empty) if item.is_none() => return Ok(Encoded::Empty),
            Some(Form::Empty) => {
                let found = type_name(item)?;
                Err(PyTypeError::new_err(format!("the item is None, not {found}")))
            }
            Some(Form::Value(plan)) => write_value(plan.get(), item, &Place::Root("the item")),
            Some(Form::Packed { encode, .. }) => call_one(encode.bind(item.py()), item).map(Encoded::Object),
            Some(Form::Fields(plan)) => {
                let mut scratch = Scratch::take();
                write::fields(plan.get(), core::slice::from_ref(item), &mut scratch).map(|()| Encoded::Scratch(scratch))
            }
            Some(Form::View | Form::Bytes | Form::ByteArray) | None => return Ok(Encoded::Object(item.clone())),
        };
        written.map_err(|error| self.named(core::slice::from_ref(item), error))
    }

    /// Names the endpoint in an error about an argument.
    #[cold]
    fn named(&self, values: &[Bound<'_, PyAny>], error: PyErr) -> PyErr {
        let Some(py) = values.first().map(Bound::py) else { return error };
        let text = format!("{}: {}", self.name, error.value(py));
        // Other classes come from code of the value itself.
        let own = error.get_type(py);
        if own.is(py.get_type::<PyTypeError>()) {
            PyTypeError::new_err(text)
        } else if own.is(py.get_type::<PyValueError>()) {
            PyValueError::new_err(text)
        } else if own.is(py.get_type::<PyOverflowError>()) {
            PyOverflowError::new_err(text)
        } else {
            error
        }
    }

    /// The message of a reply, or of an item of a stream of replies.
    pub(crate) fn answer<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Encoded<'py>> {
        let root = self.reply_place;
        let place = Place::Root(root);
        let written = match &self.reply {
            Form::Empty if value.is_none() => return Ok(Encoded::Empty),
            Form::Empty => {
                let found = type_name(&value)?;
                Err(PyTypeError::new_err(format!("{root} is None, not {found}")))
            }
            Form::Value(plan) => write_value(plan.get(), &value, &place),
            Form::Packed { encode, .. } => call_one(encode.bind(value.py()), &value).map(Encoded::Object),
            Form::Fields(plan) => {
                let mut scratch = Scratch::take();
                // The field of an option is called `the reply`.
                write::fields(plan.get(), core::slice::from_ref(&value), &mut scratch)
                    .map(|()| Encoded::Scratch(scratch))
            }
            // A function with hints and without one for its reply returns bytes.
            Form::View if !self.takes_bytes() && !has_buffer(&value) => {
                let found = type_name(&value)?;
                let hints = if self.description.streams {
                    "`-> Iterator[str]` or `-> Iterator[tachyon.f64]`"
                } else {
                    "`-> str`, `-> tachyon.f64` or `-> None`"
                };
                Err(PyTypeError::new_err(format!("{root} is bytes, not {found}; give it a hint, such as {hints}")))
            }
            Form::View | Form::Bytes | Form::ByteArray => return Ok(Encoded::Object(value)),
        };
        written.map_err(|error| {
            let py = value.py();
            if !(error.is_instance_of::<PyTypeError>(py)
                || error.is_instance_of::<PyValueError>(py)
                || error.is_instance_of::<PyOverflowError>(py))
            {
                return error;
            }
            let bad = BadReplyError::new_err(format!("{}: {}", self.name, error.value(py)));
            bad.set_cause(py, Some(error));
            bad
        })
    }

    /// Calls a handler with the values of a request. `view` shows the request, if the contract
    /// [`reads_in_place`](Self::reads_in_place).
    ///
    /// # Errors
    /// `BadRequestError` for bytes that are no such request; otherwise the exception of the handler.
    #[inline]
    pub(crate) fn call<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        request: &[u8],
        view: Option<&Bound<'py, PyMemoryView>>,
        is_private: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = function.py();
        let take = |plan: &Py<Plan>, place: &str| match view {
            Some(view) => read::in_place(plan.bind(py), request, view, is_private, place),
            None => read::own(plan.bind(py), request, is_private, place),
        };
        match &self.request {
            Form::Empty if request.is_empty() => function.call0(),
            Form::Empty => {
                let found = request.len();
                Err(BadRequestError::new_err(format!("{found} bytes came where none are expected")))
            }
            Form::View => match view {
                Some(view) => call_one(function, view.as_any()),
                None => Err(plan_mismatch()),
            },
            Form::Bytes => call_one(function, PyBytes::new(py, request).as_any()),
            Form::ByteArray => call_one(function, PyByteArray::new(py, request).as_any()),
            Form::Value(plan) => call_one(function, &take(plan, "the request")?),
            Form::Packed { decode, .. } => {
                let arguments = call_one(decode.bind(py), PyBytes::new(py, request).as_any())?;
                crate::runtime::invoke::call_all(function, arguments.cast::<PyTuple>()?)
            }
            Form::Fields(plan) => {
                let arguments = take(plan, "the request")?;
                crate::runtime::invoke::call_all(function, arguments.cast::<PyTuple>()?)
            }
        }
    }

    /// The value of a reply, or of an item of a stream of replies, which shares no memory with it. `is_private` says
    /// that the callee can no longer write to the reply.
    #[inline]
    pub(crate) fn value<'py>(&self, py: Python<'py>, reply: &[u8], is_private: bool) -> PyResult<Bound<'py, PyAny>> {
        let value = received(&self.reply, py, reply, is_private, self.reply_place);
        value.map_err(|error| {
            if !error.is_instance_of::<BadRequestError>(py) {
                return error;
            }
            let (name, error) = (&self.name, error.value(py));
            let what = if self.streams() { "an item of the callee" } else { "the callee's reply" };
            BadReplyError::new_err(format!("{name}: {what} does not decode: {error}"))
        })
    }

    /// The value of an item of the caller.
    ///
    /// # Errors
    /// `BadRequestError` for bytes that are no such item.
    pub(crate) fn received_item<'py>(&self, py: Python<'py>, item: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match &self.items {
            Some(form) => received(form, py, item, true, "an item"),
            None => Err(plan_mismatch()),
        }
    }

    /// Whether the endpoint declares this class of error.
    pub(crate) fn declares(&self, class: &Bound<'_, PyType>) -> bool {
        self.raises.iter().any(|raised| raised.class.is(class))
    }

    /// The exception for an error that the endpoint declares; `None` for others.
    ///
    /// # Errors
    /// `BadReplyError` when the fields of the error are malformed.
    pub(crate) fn declared<'py>(
        &self,
        py: Python<'py>,
        error: &tachyon::RpcError,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        /// The head of an error without fields.
        const EMPTY: &[u8] = &[4, 0, 0, 0];
        let Some(raised) = self.raises.iter().find(|raised| raised.name == error.name) else { return Ok(None) };
        let fields = error_fields(error);
        let values = match &raised.plan {
            None => PyTuple::empty(py).into_any(),
            Some(plan) => {
                let head = if fields.is_empty() { EMPTY } else { fields };
                match read::own(plan.bind(py), head, true, &raised.name) {
                    Ok(values) => values,
                    // The callee leaves out fields that do not fit its ring.
                    Err(_) if fields.is_empty() => return Ok(None),
                    Err(problem) => {
                        let (name, error, problem) = (&self.name, &error.name, problem.value(py));
                        return Err(BadReplyError::new_err(format!(
                            "{name}: the fields of the callee's error {error} do not decode: {problem}"
                        )));
                    }
                }
            }
        };
        let made = imported!(py, "tachyon._declared", "received")?;
        made.call1((&raised.class, values, error.msg_type, &error.text, error.kind as u16)).map(Some)
    }

    /// Whether the callee of the present connection is known to share the contract.
    #[inline]
    pub(crate) fn is_agreed(&self, caller: &mut Caller) -> bool {
        caller.has_agreed(self.key)
    }

    /// The description to compare with the callee's, and the key of the agreement.
    pub(crate) fn verified(&self) -> (&EndpointDescription, usize) {
        (&self.description, self.key)
    }
}

/// The value of a message that is no request. It shares no memory with the message.
#[inline]
fn received<'py>(
    form: &Form,
    py: Python<'py>,
    message: &[u8],
    is_private: bool,
    place: &str,
) -> PyResult<Bound<'py, PyAny>> {
    match form {
        Form::Empty if message.is_empty() => Ok(py.None().into_bound(py)),
        Form::Empty => {
            let found = message.len();
            Err(BadRequestError::new_err(format!("{found} bytes came where none are expected")))
        }
        Form::ByteArray => Ok(PyByteArray::new(py, message).into_any()),
        Form::View | Form::Bytes => Ok(PyBytes::new(py, message).into_any()),
        Form::Value(plan) => read::own(plan.bind(py), message, is_private, place),
        Form::Packed { decode, .. } => call_one(decode.bind(py), PyBytes::new(py, message).as_any()),
        Form::Fields(plan) => read::own(plan.bind(py), message, is_private, place)
            .and_then(|fields| fields.cast::<PyTuple>()?.get_item(0)),
    }
}

/// The message of one value.
#[inline]
fn write_value<'py>(plan: &Plan, value: &Bound<'py, PyAny>, place: &Place<'_>) -> PyResult<Encoded<'py>> {
    if let Some(array) = write::whole_array(plan, value, place)? {
        return Ok(Encoded::Object(array));
    }
    let mut scratch = Scratch::take();
    write::message(plan, value, place, &mut scratch)?;
    Ok(Encoded::Scratch(scratch))
}

#[pymethods]
impl Contract {
    #[new]
    #[pyo3(signature = (name, json, request, reply, parameters, raises, is_method, items=None))]
    #[allow(clippy::too_many_arguments, reason = "the parts that `tachyon._contract` reads")]
    fn new(
        name: String,
        json: String,
        request: (String, Option<Bound<'_, PyAny>>),
        reply: (String, Option<Bound<'_, PyAny>>),
        parameters: Vec<(Py<PyString>, bool, bool, Py<PyAny>)>,
        raises: Vec<(String, Py<PyType>, Option<Py<Plan>>)>,
        is_method: bool,
        items: Option<(String, Option<Bound<'_, PyAny>>)>,
    ) -> PyResult<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let parameter = |(name, by_position, has_default, default): (_, _, bool, _)| Parameter {
            name,
            by_position,
            default: has_default.then_some(default),
        };
        let (request, reply) = (Form::of(&request.0, request.1)?, Form::of(&reply.0, reply.1)?);
        let is_typed = |form: &Form| form.plan().is_some() || matches!(form, Form::Packed { .. });
        let description = described(&json)?;
        let is_stream = description.kind().is_stream();
        let arguments = match parameters.len() {
            _ if is_stream => Arguments::Stream,
            0 | 1 if !is_method => Arguments::Seed,
            _ => Arguments::Function,
        };
        Ok(Self {
            typed: is_typed(&request) || is_typed(&reply) || !raises.is_empty() || is_stream,
            name,
            request,
            items: items.map(|(kind, parts)| Form::of(&kind, parts)).transpose()?,
            reply,
            reply_place: if description.streams { "an item" } else { "the reply" },
            parameters: parameters.into_iter().map(parameter).collect(),
            raises: raises.into_iter().map(|(name, class, plan)| Raised { name, class, plan }).collect(),
            description,
            json,
            key: NEXT.fetch_add(2, Ordering::Relaxed),
            arguments,
        })
    }

    /// The endpoint's name.
    #[getter]
    #[pyo3(name = "name")]
    fn own_name(&self) -> &str {
        &self.name
    }

    /// Whether the callee replies with a stream of items.
    #[getter(streams)]
    fn is_streaming(&self) -> bool {
        self.streams()
    }

    /// Whether the callee takes a stream of items.
    #[getter(takes_items)]
    fn is_taking_items(&self) -> bool {
        self.takes_items()
    }

    /// The description of the endpoint alone, as JSON.
    fn describe(&self) -> &str {
        &self.json
    }

    /// Give the value of a reply, which shares no memory with it.
    fn decode<'py>(&self, py: Python<'py>, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        self.value(py, data.as_bytes(), true)
    }

    /// Give the exception that the endpoint declares for an error reply of a kind and its bytes, None for others.
    fn declared_error<'py>(
        &self,
        py: Python<'py>,
        kind: u16,
        payload: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let type_id = tachyon::type_id::make_type_id(kind, tachyon::type_id::MSG_TYPE_ERROR);
        match tachyon::__binding::decode_error(type_id, payload.as_bytes()) {
            Some(error) => self.declared(py, &error),
            None => Ok(None),
        }
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for form in [&self.request, &self.reply].into_iter().chain(&self.items) {
            visit.call(form.plan())?;
            if let Form::Packed { encode, decode } = form {
                visit.call(encode)?;
                visit.call(decode)?;
            }
        }
        for own in &self.parameters {
            visit.call(&own.default)?;
        }
        for raised in &self.raises {
            visit.call(&raised.class)?;
            visit.call(&raised.plan)?;
        }
        Ok(())
    }
}

/// The one endpoint that a contract describes.
pub(crate) fn described(json: &str) -> PyResult<EndpointDescription> {
    // A function's own hints may describe an endpoint that cannot be read: a name that is too long, or two equal names.
    let read = Description::from_json(json).map_err(|error| PyTypeError::new_err(error.to_string()))?;
    let endpoint = read.endpoints.into_iter().next();
    endpoint.ok_or_else(|| PyRuntimeError::new_err("the contract describes no endpoint"))
}

/// A function's docstring, tidied.
pub(crate) fn doc(function: &Bound<'_, PyAny>) -> PyResult<String> {
    imported!(function.py(), "tachyon._contract", "doc_of")?.call1((function,))?.extract()
}
