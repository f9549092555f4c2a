//! From messages to Python values, by a plan.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyList, PyMemoryView, PySlice, PyString, PyTuple};
use tachyon::__binding::{Build, Bytes, Node, Place, read_message};
use tachyon::payload::{Malformed, Primitive};

use crate::errors::BadRequestError;
use crate::values::objects::{Items, Memory, Values, Window};
use crate::values::plan::{Meta, Plan, Shown, plan_mismatch};
use crate::values::write::{self, Scratch};

/// The error of a message without a value.
pub(crate) enum ReadError {
    Malformed(Box<Malformed>),
    Raised(PyErr),
}

impl From<Box<Malformed>> for ReadError {
    fn from(problem: Box<Malformed>) -> Self {
        Self::Malformed(problem)
    }
}

impl From<PyErr> for ReadError {
    fn from(raised: PyErr) -> Self {
        Self::Raised(raised)
    }
}

impl From<ReadError> for PyErr {
    #[cold]
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Malformed(problem) => BadRequestError::new_err(problem.to_string()),
            ReadError::Raised(raised) => raised,
        }
    }
}

/// The value of a message, which shares no memory with it. `is_private` says that no peer can write to the message.
///
/// # Errors
/// `BadRequestError` for bytes that are no such value.
#[inline]
pub(crate) fn own<'py>(
    plan: &Bound<'py, Plan>,
    message: &[u8],
    is_private: bool,
    place: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { plan, in_place: None };
    let node = plan.get().root;
    Ok(read_message(&plan.get().core, node, message, is_private, place, &mut reader)?)
}

/// As [`own`], for one type of a plan, and for bytes that no other code can write to.
pub(crate) fn own_at<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    message: &[u8],
    place: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { plan, in_place: None };
    Ok(read_message(&plan.get().core, node, message, true, place, &mut reader)?)
}

/// The value of a message. Arrays, and a Struct that is the whole message, are views of `view`, which shows the
/// message.
///
/// # Errors
/// `BadRequestError` for bytes that are no such value.
#[inline]
pub(crate) fn in_place<'py>(
    plan: &Bound<'py, Plan>,
    message: &[u8],
    view: &Bound<'py, PyMemoryView>,
    is_private: bool,
    place: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { plan, in_place: Some((view, message.as_ptr().addr())) };
    let node = plan.get().root;
    Ok(read_message(&plan.get().core, node, message, is_private, place, &mut reader)?)
}

struct Reader<'a, 'py> {
    plan: &'a Bound<'py, Plan>,
    /// The memoryview of the message, and the address of its first byte; `None` to copy.
    in_place: Option<(&'a Bound<'py, PyMemoryView>, usize)>,
}

impl<'py> Reader<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.plan.py()
    }

    /// The window of bytes of the message: in place, or a copy, which is mutable only if the value shares no memory
    /// with the message.
    fn window(&self, bytes: Bytes<'_>) -> PyResult<Window<'py>> {
        match (bytes, self.in_place) {
            (Bytes::InPlace(bytes), Some((view, begin))) => {
                Ok(Window { view: view.clone(), at: bytes.as_ptr().addr() - begin })
            }
            (Bytes::Private(bytes), Some(_)) => {
                let copy = PyBytes::new(self.py(), bytes);
                Ok(Window { view: PyMemoryView::from(copy.as_any())?, at: 0 })
            }
            (bytes, None) => Window::copied(self.py(), bytes.get()),
        }
    }

    /// The memoryview of bytes of the message.
    fn view(&self, bytes: Bytes<'_>) -> PyResult<Bound<'py, PyAny>> {
        let Window { view, at } = self.window(bytes)?;
        let len = bytes.get().len();
        let span = PySlice::new(self.py(), at.cast_signed(), (at + len).cast_signed(), 1);
        view.as_any().get_item(span)
    }

    fn list_of_fixed(&self, of: usize, bytes: Bytes<'_>) -> PyResult<Bound<'py, PyAny>> {
        let (py, plan) = (self.py(), self.plan.get());
        let size = plan.core.layout(of).map_or(1, |(size, _)| size);
        let bytes = bytes.get();
        // Structs and arrays of a list share one copy of its memory.
        let shared = match plan.metas[of] {
            Meta::Struct { .. } | Meta::Array { .. } => Some(Window::copied(py, bytes)?.view),
            _ => None,
        };
        let list = PyList::empty(py);
        for (index, each) in bytes.chunks_exact(size).enumerate() {
            list.append(fixed(self.plan, of, each, || match &shared {
                Some(view) => Ok(Window { view: view.clone(), at: index * size }),
                None => Window::copied(py, each),
            })?)?;
        }
        Ok(list.into_any())
    }
}

impl<'py> Build for Reader<'_, 'py> {
    type Value = Bound<'py, PyAny>;
    type Error = ReadError;

    #[inline]
    fn fixed(
        &mut self,
        plan: &tachyon::__binding::Plan,
        node: usize,
        bytes: Bytes<'_>,
    ) -> Result<Self::Value, ReadError> {
        let _ = plan;
        // A Struct or an array is in place only where it is the whole message.
        let is_whole = node == self.plan.get().root;
        let window = || if is_whole { self.window(bytes) } else { Window::copied(self.py(), bytes.get()) };
        Ok(fixed(self.plan, node, bytes.get(), window)?)
    }

    #[inline]
    fn text(&mut self, text: &str) -> Result<Self::Value, ReadError> {
        Ok(PyString::new(self.py(), text).into_any())
    }

    fn values(
        &mut self,
        plan: &tachyon::__binding::Plan,
        node: usize,
        bytes: Bytes<'_>,
    ) -> Result<Self::Value, ReadError> {
        let Node::List(of) = *plan.node(node) else { return Err(plan_mismatch().into()) };
        let Meta::List { shown, dtype } = &self.plan.get().metas[node] else { return Err(plan_mismatch().into()) };
        let len = bytes.get().len();
        Ok(match shown {
            Shown::List => self.list_of_fixed(of, bytes)?,
            Shown::Bytes => PyBytes::new(self.py(), bytes.get()).into_any(),
            Shown::Memoryview => self.view(bytes)?,
            Shown::Array { class, letter } => {
                let window = self.window(bytes)?;
                Items::make(self.plan, of, class.bind(self.py()), letter.bind(self.py()), &window, len)?
            }
            Shown::Numpy { frombuffer } => {
                let dtype = dtype.get(self.py())?;
                frombuffer.bind(self.py()).call1((self.view(bytes)?, dtype))?
            }
        })
    }

    fn list(
        &mut self,
        _plan: &tachyon::__binding::Plan,
        _node: usize,
        values: Vec<Self::Value>,
    ) -> Result<Self::Value, ReadError> {
        Ok(PyList::new(self.py(), values)?.into_any())
    }

    fn tensor(
        &mut self,
        plan: &tachyon::__binding::Plan,
        node: usize,
        shape: &[usize],
        bytes: Bytes<'_>,
    ) -> Result<Self::Value, ReadError> {
        let (Node::Tensor { of, .. }, Meta::Tensor { frombuffer, dtype }) =
            (plan.node(node), &self.plan.get().metas[node])
        else {
            return Err(plan_mismatch().into());
        };
        let py = self.py();
        let Some(frombuffer) = frombuffer else { return Ok(nested(py, *of, shape, bytes.get())?) };
        let values = frombuffer.bind(py).call1((self.view(bytes)?, dtype.get(py)?))?;
        Ok(values.call_method1(pyo3::intern!(py, "reshape"), (PyTuple::new(py, shape)?,))?)
    }

    fn none(&mut self) -> Self::Value {
        self.py().None().into_bound(self.py())
    }

    fn default(
        &mut self,
        plan: &tachyon::__binding::Plan,
        node: usize,
        field: usize,
    ) -> Result<Self::Value, ReadError> {
        let Node::Head { fields, .. } = plan.node(node) else { return Err(plan_mismatch().into()) };
        Ok(default(self.plan, node, field, fields[field].of)?)
    }

    #[inline]
    fn head(
        &mut self,
        _plan: &tachyon::__binding::Plan,
        node: usize,
        values: Vec<Self::Value>,
    ) -> Result<Self::Value, ReadError> {
        match &self.plan.get().metas[node] {
            Meta::Head { class: Some(class), .. } => Ok(Values::make(class.bind(self.py()), values)?),
            _ => Ok(PyTuple::new(self.py(), values)?.into_any()),
        }
    }
}

/// The default of a field of a head. Mutable defaults are copied.
pub(crate) fn default<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    field: usize,
    of: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let py = plan.py();
    let Meta::Head { defaults, .. } = &plan.get().metas[node] else { return Err(plan_mismatch()) };
    let Some(Some(default)) = defaults.get(field) else { return Err(plan_mismatch()) };
    fresh(plan, of, default.bind(py))
}

/// A fixed value of checked bytes; `window` returns the memory of a Struct or an array.
#[inline]
pub(crate) fn fixed<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    bytes: &[u8],
    window: impl FnOnce() -> PyResult<Window<'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = plan.py();
    match (plan.get().core.node(node), &plan.get().metas[node]) {
        (Node::Primitive(primitive), _) => number(py, *primitive, bytes),
        (Node::Bytes(_), _) => Ok(PyBytes::new(py, bytes).into_any()),
        (Node::FixedText(_), _) => {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            // Code that writes through the buffer may leave invalid UTF-8, so every read checks.
            let text = core::str::from_utf8(&bytes[..end]).map_err(|error| {
                let at = error.valid_up_to();
                BadRequestError::new_err(format!("{} is no UTF-8 from byte {at} on", plan.get().core.name(node)))
            })?;
            Ok(PyString::new(py, text).into_any())
        }
        (Node::Enum { repr, .. }, Meta::Enum { members, .. }) => {
            let found = number(py, *repr, bytes)?;
            members.bind(py).get_item(&found)?.ok_or_else(|| {
                let name = plan.get().core.name(node);
                BadRequestError::new_err(format!("{found} is no value of {name}"))
            })
        }
        (Node::Struct { .. }, Meta::Struct { class }) => {
            let window = window()?;
            Memory::make(class.bind(py), &window, bytes.len(), pyo3::intern!(py, "B"))
        }
        (Node::Array { of, .. }, Meta::Array { class, letter, .. }) => {
            Items::make(plan, *of, class.bind(py), letter.bind(py), &window()?, bytes.len())
        }
        _ => Err(plan_mismatch()),
    }
}

/// A number or a bool.
#[inline]
fn number<'py>(py: Python<'py>, primitive: Primitive, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    macro_rules! of {
        ($ty:ty) => {
            <$ty>::from_le_bytes(bytes.try_into().map_err(|_| plan_mismatch())?)
        };
    }
    Ok(match primitive {
        Primitive::U8 => of!(u8).into_pyobject(py)?.into_any(),
        Primitive::U16 => of!(u16).into_pyobject(py)?.into_any(),
        Primitive::U32 => of!(u32).into_pyobject(py)?.into_any(),
        Primitive::U64 => of!(u64).into_pyobject(py)?.into_any(),
        Primitive::I8 => of!(i8).into_pyobject(py)?.into_any(),
        Primitive::I16 => of!(i16).into_pyobject(py)?.into_any(),
        Primitive::I32 => of!(i32).into_pyobject(py)?.into_any(),
        Primitive::I64 => of!(i64).into_pyobject(py)?.into_any(),
        Primitive::F32 => PyFloat::new(py, of!(f32).into()).into_any(),
        Primitive::F64 => PyFloat::new(py, of!(f64)).into_any(),
        Primitive::Bool => (bytes != [0]).into_pyobject(py)?.to_owned().into_any(),
    })
}

/// The values of a tensor as nested lists.
fn nested<'py>(py: Python<'py>, of: Primitive, shape: &[usize], bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    /// Most values: a list takes some ten times the memory of the values, and no reader looks at more.
    const MOST: usize = 1 << 20;
    let [len, inner @ ..] = shape else { return number(py, of, bytes) };
    let lengths = shape.iter().scan(1_usize, |count, len| {
        *count = count.saturating_mul(*len);
        Some(*count)
    });
    // A peer may give many lists around few values, or around none.
    if lengths.fold(0, usize::saturating_add) > 2 * MOST {
        let message = format!("a tensor of the shape {shape:?} is too long for lists of at most {MOST} values");
        return Err(PyValueError::new_err(message));
    }
    let size = bytes.len().checked_div(*len).unwrap_or(0);
    let list = PyList::empty(py);
    for index in 0..*len {
        list.append(nested(py, of, inner, &bytes[index * size..][..size])?)?;
    }
    Ok(list.into_any())
}

/// The value that a field holds: as a receiver would get it, with memory of its own. Numpy arrays and Structs without a
/// fixed size stay the same objects.
pub(crate) fn normal<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let own = plan.get();
    match (own.core.node(node), &own.metas[node]) {
        (Node::Option(_), _) if value.is_none() => Ok(value.clone()),
        (Node::Option(of), _) => normal(plan, *of, value, place),
        (Node::Head { name, .. }, Meta::Head { class: Some(class), .. }) => {
            if value.is_instance(class.bind(value.py()))? {
                Ok(value.clone())
            } else {
                Err(write::wrong_type(place, name, value))
            }
        }
        (Node::List(of), Meta::List { shown: Shown::Numpy { .. }, .. }) if write::is_numpy(value, "ndarray")? => {
            write::values(own, node, *of, value, place, &mut Scratch::take())?;
            Ok(value.clone())
        }
        (Node::Tensor { ndim, .. }, Meta::Tensor { frombuffer: Some(_), .. }) if write::is_numpy(value, "ndarray")? => {
            write::exact_array(own, node, *ndim, value, place)?;
            Ok(value.clone())
        }
        _ => as_received(plan, node, value, place),
    }
}

/// A copy of a value of [`normal`], or the value itself if it is immutable.
pub(crate) fn fresh<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    if value.is_none() {
        return Ok(value.clone());
    }
    let core = &plan.get().core;
    let node = if let Node::Option(of) = *core.node(node) { of } else { node };
    match core.node(node) {
        Node::Primitive(_) | Node::Bytes(_) | Node::FixedText(_) | Node::Enum { .. } | Node::Text => Ok(value.clone()),
        _ => as_received(plan, node, value, &Place::Root("the default")),
    }
}

/// The value as a receiver gets it.
fn as_received<'py>(
    plan: &Bound<'py, Plan>,
    node: usize,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut scratch = Scratch::take();
    write::message_at(plan.get(), node, value, place, &mut scratch)?;
    own_at(plan, node, &scratch, "")
}
