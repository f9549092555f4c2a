//! From Python values to messages, by a plan: every conversion is exact, or an error.
//!
//! Requests, replies, fields of Structs and values of Arrays all use these rules.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};
use tachyon::__binding::{MAX_NDIM, Node, Place, Source, TooLong};
use tachyon::payload::Primitive;

use crate::errors::TooLargeError;
use crate::memory::buffer_export::type_name;
use crate::memory::payload::{Payload, buffer_of, has_buffer, is_sequence};
use crate::values::objects::{Items, Memory, Values};
use crate::values::plan::{Meta, Plan, Shown, plan_mismatch};

/// Longest buffer, in bytes, that is kept between two messages.
const MAX_KEPT: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer, reused for the next message.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// Takes the thread's buffer. A nested conversion, in Python code that this one runs, makes a buffer of its own,
    /// and so does a thread that ends.
    #[inline]
    pub(crate) fn take() -> Self {
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.clear();
        Self(scratch)
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() <= MAX_KEPT {
            let scratch = core::mem::take(&mut self.0);
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
    }
}

impl Deref for Scratch {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// The error of a value that cannot be encoded.
pub(crate) struct WriteError(PyErr);

impl From<PyErr> for WriteError {
    fn from(raised: PyErr) -> Self {
        Self(raised)
    }
}

impl From<TooLong> for WriteError {
    fn from(error: TooLong) -> Self {
        Self(TooLargeError::new_err(error.to_string()))
    }
}

impl From<WriteError> for PyErr {
    fn from(error: WriteError) -> Self {
        error.0
    }
}

/// Appends the message of a value to an empty buffer.
#[inline]
pub(crate) fn message(plan: &Plan, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut Vec<u8>) -> PyResult<()> {
    message_at(plan, plan.root, value, place, out)
}

/// As [`message`], of one type of a plan.
#[inline]
pub(super) fn message_at(
    plan: &Plan,
    node: usize,
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    Ok(plan.core.write_message(node, value, place, &mut Writer::new(plan), out)?)
}

/// Appends the message of the fields of a head.
#[inline]
pub(crate) fn fields(plan: &Plan, values: &[Bound<'_, PyAny>], out: &mut Vec<u8>) -> PyResult<()> {
    match plan.core.node(plan.root) {
        Node::Head { fields, .. } if fields.len() == values.len() => {}
        _ => return Err(plan_mismatch()),
    }
    Ok(plan.core.write_fields(plan.root, values, &mut Writer::new(plan), out)?)
}

/// The bytes of a fixed value.
pub(crate) fn fixed_bytes(
    plan: &Bound<'_, Plan>,
    node: usize,
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
) -> PyResult<Vec<u8>> {
    let plan = plan.get();
    let Some((size, _)) = plan.core.layout(node) else { return Err(plan_mismatch()) };
    let mut bytes = vec![0; size];
    fixed(plan, node, value, place, &mut bytes)?;
    Ok(bytes)
}

/// An object with the bytes of a message that is one array, which needs no copy; `None` for other messages.
pub(crate) fn whole_array<'py>(
    plan: &Plan,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Node::List(of) = *plan.core.node(plan.root) else { return Ok(None) };
    if !plan.core.is_total(of) || value.is_exact_instance_of::<PyList>() {
        return Ok(None);
    }
    if let Ok(items) = value.cast::<Items>() {
        let theirs = items.get().plan.bind(value.py()).get();
        return Ok(plan.is_same(of, theirs, items.get().of).then(|| value.clone()));
    }
    of_exactly(plan, plan.root, of, value, place)
}

/// Encodes Python values.
///
/// The lifetime is that of the GIL, which the core does not know.
struct Writer<'a, 'py> {
    plan: &'a Plan,
    py: core::marker::PhantomData<Python<'py>>,
}

impl<'a> Writer<'a, '_> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, py: core::marker::PhantomData }
    }
}

impl<'py> Source for Writer<'_, 'py> {
    type Value = Bound<'py, PyAny>;
    type Error = WriteError;

    #[inline]
    fn fixed(
        &mut self,
        _core: &tachyon::__binding::Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut [u8],
    ) -> Result<(), WriteError> {
        Ok(fixed(self.plan, node, value, place, out)?)
    }

    #[inline]
    fn text(&mut self, value: &Self::Value, place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        out.extend_from_slice(text(value, place)?.as_bytes());
        Ok(())
    }

    fn values(
        &mut self,
        core: &tachyon::__binding::Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let Node::List(of) = *core.node(node) else { return Err(plan_mismatch().into()) };
        Ok(values(self.plan, node, of, value, place, out).map(drop)?)
    }

    fn list(
        &mut self,
        core: &tachyon::__binding::Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
    ) -> Result<Vec<Self::Value>, WriteError> {
        if is_array(value)? {
            let name = core.name(node);
            return Err(PyTypeError::new_err(format!("{place} is {name}, and this is an array; pass a list")).into());
        }
        Ok(sequence(value, place)?)
    }

    fn tensor(
        &mut self,
        core: &tachyon::__binding::Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<[usize; MAX_NDIM], WriteError> {
        let Node::Tensor { of, ndim } = *core.node(node) else { return Err(plan_mismatch().into()) };
        Ok(tensor(self.plan, node, of, ndim, value, place, out)?)
    }

    fn option(&mut self, value: &Self::Value) -> Result<Option<Self::Value>, WriteError> {
        Ok(if value.is_none() { None } else { Some(value.clone()) })
    }

    fn head(
        &mut self,
        core: &tachyon::__binding::Plan,
        node: usize,
        value: &Self::Value,
        place: &Place<'_>,
    ) -> Result<Vec<Self::Value>, WriteError> {
        let Node::Head { name, fields } = core.node(node) else { return Err(plan_mismatch().into()) };
        let Meta::Head { class: Some(class), .. } = &self.plan.metas[node] else {
            return Err(plan_mismatch().into());
        };
        if !value.is_instance(class.bind(value.py()))? {
            return Err(wrong_type(place, name, value).into());
        }
        let own = value.cast::<Values>().map_err(PyErr::from)?;
        let each = fields.iter().enumerate().map(|(index, field)| {
            own.get()
                .get(value.py(), index)
                .ok_or_else(|| PyValueError::new_err(format!("{place}.{} has no value", field.name)))
        });
        Ok(each.collect::<PyResult<_>>()?)
    }
}

/// The error for a value of another type.
#[cold]
pub(super) fn wrong_type(place: &Place<'_>, wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match type_name(value) {
        Ok(found) => PyTypeError::new_err(format!("{place} must be a {wanted}, not {found}")),
        Err(raised) => raised,
    }
}

/// Writes a fixed value.
#[inline]
fn fixed(plan: &Plan, node: usize, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut [u8]) -> PyResult<()> {
    match (plan.core.node(node), &plan.metas[node]) {
        (Node::Primitive(primitive), _) => number(*primitive, value, place, out),
        (Node::Bytes(len), _) => {
            let Some(given) = bytes_like(value, place)? else {
                let found = type_name(value)?;
                return Err(PyTypeError::new_err(format!("{place} must be {len} bytes, not {found}")));
            };
            let given = given.as_slice();
            if given.len() != *len {
                let count = given.len();
                return Err(PyValueError::new_err(format!("{place} must be {len} bytes, and {count} were given")));
            }
            out.copy_from_slice(given);
            Ok(())
        }
        (Node::FixedText(len), _) => fixed_text(*len, value, place, out),
        (Node::Enum { name, repr, .. }, Meta::Enum { class, .. }) => {
            if !value.is_instance(class.bind(value.py()))? {
                return Err(wrong_type(place, name, value));
            }
            integer(*repr, value, place, out)?;
            // `int.__new__` makes objects of the class that are no members.
            checked(plan, node, place, out)
        }
        (Node::Struct { name, .. }, Meta::Struct { class }) => {
            if !value.is_instance(class.bind(value.py()))? {
                return Err(wrong_type(place, name, value));
            }
            Memory::read(value.cast::<Memory>()?, 0, out.len(), |bytes| {
                out.copy_from_slice(bytes);
                Ok(())
            })?;
            // Other code can write to the memory of a Struct through its buffer.
            checked(plan, node, place, out)
        }
        (Node::Array { of, len }, _) => {
            let mut bytes = Vec::with_capacity(out.len());
            let count = values(plan, node, *of, value, place, &mut bytes)?;
            if count != *len {
                return Err(PyValueError::new_err(format!("{place} must be {len} values, and {count} were given")));
            }
            out.copy_from_slice(&bytes);
            Ok(())
        }
        _ => Err(plan_mismatch()),
    }
}

/// Refuses bytes that are no value of the type, such as a bool of 2 written through a buffer.
fn checked(plan: &Plan, node: usize, place: &Place<'_>, bytes: &[u8]) -> PyResult<()> {
    plan.core.check(node, bytes).map_err(|problem| PyValueError::new_err(format!("{place}: {problem}")))
}

#[inline]
fn number(primitive: Primitive, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut [u8]) -> PyResult<()> {
    match primitive {
        Primitive::F32 | Primitive::F64 => float(primitive, value, place, out),
        Primitive::Bool => {
            let is_bool = value.is_instance_of::<PyBool>() || is_numpy(value, "bool_")?;
            if !is_bool {
                return Err(wrong_type(place, "bool", value));
            }
            out[0] = u8::from(value.is_truthy()?);
            Ok(())
        }
        _ => integer(primitive, value, place, out),
    }
}

/// A whole number of Python, or of numpy as one of Python.
#[inline]
fn whole<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyInt>>> {
    if let Ok(int) = value.cast::<PyInt>() {
        return Ok(if value.is_instance_of::<PyBool>() { None } else { Some(int.clone()) });
    }
    // A timedelta64 counts as an integer of numpy, and has no `__index__`.
    if !is_numpy(value, "integer")? || !value.hasattr(pyo3::intern!(value.py(), "__index__"))? {
        return Ok(None);
    }
    Ok(Some(value.call_method0(pyo3::intern!(value.py(), "__index__"))?.cast_into()?))
}

/// The number in 128 bits; `None` if it fits neither i64 nor u64.
#[inline]
fn wide(int: &Bound<'_, PyInt>) -> Option<i128> {
    match int.extract::<i64>() {
        Ok(found) => Some(found.into()),
        Err(_) => int.extract::<u64>().ok().map(i128::from),
    }
}

#[inline]
fn integer(primitive: Primitive, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut [u8]) -> PyResult<()> {
    let Some(int) = whole(value)? else {
        let found = type_name(value)?;
        return Err(PyTypeError::new_err(format!(
            "{place} must be a whole number ({}), not {found}",
            primitive.name()
        )));
    };
    let is_signed = matches!(primitive, Primitive::I8 | Primitive::I16 | Primitive::I32 | Primitive::I64);
    let bits = u32::try_from(8 * out.len()).unwrap_or(64) - u32::from(is_signed);
    let most = (1_i128 << bits) - 1;
    let least = if is_signed { -most - 1 } else { 0 };
    match wide(&int) {
        Some(found) if (least..=most).contains(&found) => {
            let bytes = found.to_le_bytes();
            out.copy_from_slice(&bytes[..out.len()]);
            Ok(())
        }
        _ => Err(PyOverflowError::new_err(format!(
            "{place} is {}, from {least} to {most}, and {} is out of that range",
            primitive.name(),
            display(&int),
        ))),
    }
}

/// A number in an error text.
#[cold]
fn display(value: &Bound<'_, PyAny>) -> String {
    // Python refuses to print a huge number.
    value.str().map_or_else(|_| "a huge number".to_owned(), |text| text.to_string_lossy().into_owned())
}

#[inline]
fn float(primitive: Primitive, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut [u8]) -> PyResult<()> {
    let is_single = primitive == Primitive::F32;
    let found = if let Ok(float) = value.cast::<PyFloat>() { float.value() } else { exact(primitive, value, place)? };
    if !is_single {
        out.copy_from_slice(&found.to_le_bytes());
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, reason = "Python has no other float to write in")]
    let single = found as f32;
    if found.is_finite() && !single.is_finite() {
        let message = format!("{place} is f32, and {} is out of its range", display(value));
        return Err(PyOverflowError::new_err(message));
    }
    out.copy_from_slice(&single.to_le_bytes());
    Ok(())
}

/// Another number than a `float` as a float, if the conversion is exact.
#[cold]
fn exact(primitive: Primitive, value: &Bound<'_, PyAny>, place: &Place<'_>) -> PyResult<f64> {
    let name = primitive.name();
    let number = match whole(value)? {
        Some(int) => int.into_any(),
        None if is_numpy(value, "floating")? => value.clone(),
        None => {
            let found = type_name(value)?;
            return Err(PyTypeError::new_err(format!("{place} must be a number ({name}), not {found}")));
        }
    };
    let is_whole = number.is_instance_of::<PyInt>();
    let lost = || {
        let advice = if is_whole { "; round it first: float(number)" } else { "" };
        PyOverflowError::new_err(format!("{place} is {name}, which has no {}{advice}", display(&number)))
    };
    let Ok(found) = number.call_method0(pyo3::intern!(value.py(), "__float__")) else { return Err(lost()) };
    let float: f64 = found.extract()?;
    #[allow(clippy::cast_possible_truncation, reason = "looked at below")]
    let kept = if primitive == Primitive::F32 && is_whole { f64::from(float as f32) } else { float };
    // A whole number must stay the same in f32 too; a numpy float wider than f64 must stay the same in f64.
    if float.is_nan() || (kept.to_bits() == float.to_bits() && found.eq(&number)?) { Ok(float) } else { Err(lost()) }
}

#[inline]
fn text<'a>(value: &'a Bound<'_, PyAny>, place: &Place<'_>) -> PyResult<&'a str> {
    let Ok(text) = value.cast::<PyString>() else {
        let found = type_name(value)?;
        return Err(PyTypeError::new_err(format!("{place} must be text, not {found}")));
    };
    text.to_str().map_err(|_| {
        PyValueError::new_err(format!("{place} has half of a surrogate pair in it, which UTF-8 cannot encode"))
    })
}

fn fixed_text(len: usize, value: &Bound<'_, PyAny>, place: &Place<'_>, out: &mut [u8]) -> PyResult<()> {
    let given = text(value, place)?;
    if given.len() > len {
        let (shown, count) = (value.repr()?, given.len());
        let message = format!("{place} holds {len} bytes of UTF-8, and {shown} has {count}");
        return Err(PyValueError::new_err(message));
    }
    if given.ends_with('\0') {
        let message = format!("{place} is filled up with zeros, so its text cannot end in one");
        return Err(PyValueError::new_err(message));
    }
    out.fill(0);
    out[..given.len()].copy_from_slice(given.as_bytes());
    Ok(())
}

/// The bytes of `bytes`, a `bytearray` or a `memoryview`; `None` for other objects.
fn bytes_like<'a, 'py>(value: &'a Bound<'py, PyAny>, place: &Place<'_>) -> PyResult<Option<Payload<'a, 'py>>> {
    let is_like = value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>();
    if !is_like {
        return Ok(None);
    }
    Payload::of(value).map(Some).map_err(|error| PyValueError::new_err(format!("{place}: {}", error.value(value.py()))))
}

/// Appends values of a fixed type and returns their number; `node` is that of the list or the array.
pub(super) fn values(
    plan: &Plan,
    node: usize,
    of: usize,
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
    out: &mut Vec<u8>,
) -> PyResult<usize> {
    let Some((size, _)) = plan.core.layout(of) else { return Err(plan_mismatch()) };
    let begin = out.len();
    if let Meta::List { shown: Shown::Bytes | Shown::Memoryview, .. } = &plan.metas[node] {
        let Some(given) = bytes_like(value, place)? else {
            return Err(PyTypeError::new_err(format!("{place} must be bytes, not {}", type_name(value)?)));
        };
        out.extend_from_slice(given.as_slice());
        return Ok(out.len() - begin);
    }
    if value.is_exact_instance_of::<PyList>() || value.is_exact_instance_of::<PyTuple>() {
        return each(plan, of, size, value, place, out);
    }
    if let Ok(items) = value.cast::<Items>() {
        let theirs = items.get().plan.bind(value.py()).get();
        if !plan.is_same(of, theirs, items.get().of) {
            let (mine, theirs) = (plan.core.name(of), theirs.core.name(items.get().of));
            return Err(PyTypeError::new_err(format!("{place} is an Array of {mine}, and this one is of {theirs}")));
        }
        let memory = items.as_super();
        Memory::read(memory, 0, memory.get().len(), |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })?;
    } else if let Some(array) = of_exactly(plan, node, of, value, place)? {
        out.extend_from_slice(Payload::of(&array)?.as_slice());
    } else {
        return each(plan, of, size, value, place, out);
    }
    if !plan.core.is_total(of) {
        for (index, bytes) in out[begin..].chunks_exact(size).enumerate() {
            checked(plan, of, &Place::Item(place, index), bytes)?;
        }
    }
    Ok((out.len() - begin) / size)
}

/// Appends each value of a sequence.
fn each(
    plan: &Plan,
    of: usize,
    size: usize,
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
    out: &mut Vec<u8>,
) -> PyResult<usize> {
    let begin = out.len();
    let mut add = |index: usize, value: &Bound<'_, PyAny>| {
        let at = begin + index * size;
        out.resize(at + size, 0);
        fixed(plan, of, value, &Place::Item(place, index), &mut out[at..])
    };
    // By index: a conversion may run code that changes the list.
    if let Ok(list) = value.cast_exact::<PyList>() {
        let count = list.len();
        for index in 0..count {
            add(index, &list.get_item(index)?)?;
        }
        return Ok(count);
    }
    let values = sequence(value, place)?;
    for (index, value) in values.iter().enumerate() {
        add(index, value)?;
    }
    Ok(values.len())
}

/// The values of a sequence with a length.
fn sequence<'py>(value: &Bound<'py, PyAny>, place: &Place<'_>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return Ok(tuple.iter().collect());
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        return Ok(list.iter().collect());
    }
    let is_text = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>();
    // Sets, generators and dicts are no sequences; other mappings have `keys`.
    let is_sequence = !is_text && is_sequence(value) && !value.hasattr(pyo3::intern!(value.py(), "keys"))?;
    let Some(count) = is_sequence.then(|| value.len().ok()).flatten() else {
        let found = type_name(value)?;
        return Err(PyTypeError::new_err(format!("{place} must be a sequence of values, not {found}")));
    };
    let mut values = Vec::new();
    // At most one value more than its length: an iterator may be endless.
    for each in value.try_iter()?.take(count.saturating_add(1)) {
        values.push(each?);
    }
    if values.len() != count {
        let found = type_name(value)?;
        return Err(PyValueError::new_err(format!("{place}: this {found} has not the {count} values that it says")));
    }
    Ok(values)
}

/// A module that has been imported.
fn loaded<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let found = MODULES.import(py, "sys", "modules")?.get_item(name)?;
    // `sys.modules` holds None for a module whose import is forbidden.
    Ok(found.filter(|module| !module.is_none()))
}

/// Whether a value is an instance of numpy's class `class`; false while numpy is not imported.
#[cold]
pub(crate) fn is_numpy(value: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    is_of(value, "numpy", class)
}

/// Whether a value is an instance of a module's class. A module that another thread is importing may lack the class,
/// and then no instances exist.
fn is_of(value: &Bound<'_, PyAny>, module: &str, class: &str) -> PyResult<bool> {
    let Some(module) = loaded(value.py(), module)? else { return Ok(false) };
    module.getattr_opt(class)?.map_or(Ok(false), |class| value.is_instance(&class))
}

/// Whether a value is an array of any kind, and no sequence of values.
pub(crate) fn is_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Ok(false);
    }
    let is_bytes = value.is_instance_of::<PyByteArray>();
    Ok(value.is_instance_of::<Items>() || !is_bytes && has_buffer(value) || makes_array(value)?)
}

/// Whether numpy converts the object as a whole and not value by value: a Series, for example.
fn makes_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.hasattr(pyo3::intern!(value.py(), "__array__"))
}

/// An object with the contiguous bytes of an array of exactly the type `of`; `None` for a value that is no array.
///
/// # Errors
/// `TypeError` or `ValueError` for an array of another type or shape.
pub(crate) fn of_exactly<'py>(
    plan: &Plan,
    node: usize,
    of: usize,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
    {
        return Ok(None);
    }
    if let Some(numpy) = loaded(py, "numpy")?
        && makes_array(value)?
        && numpy.hasattr("ascontiguousarray")?
    {
        return of_numpy(plan, node, &numpy, value, place).map(Some);
    }
    if !has_buffer(value) {
        return Ok(None);
    }
    let Node::Primitive(primitive) = plan.core.node(of) else {
        let (name, found) = (plan.core.name(of), type_name(value)?);
        return Err(PyTypeError::new_err(format!("{place} is values of {name}, and this {found} is of another type")));
    };
    let buffer = buffer_of(value)?;
    let format = buffer.format().to_str().unwrap_or_default();
    if !is_format_of(*primitive, format, buffer.item_size()) {
        let (name, found) = (primitive.name(), type_name(value)?);
        let message = format!("{place} is values of {name}, and this {found} is of {format:?}");
        return Err(PyTypeError::new_err(message));
    }
    if buffer.dimensions() != 1 || !buffer.is_c_contiguous() {
        let found = type_name(value)?;
        let message = format!("{place} has 1 dimension, and this {found} is no contiguous one of 1; copy it first");
        return Err(PyValueError::new_err(message));
    }
    Ok(Some(value.clone()))
}

/// Whether a buffer's items are numbers of this type, in native byte order.
fn is_format_of(primitive: Primitive, format: &str, size: usize) -> bool {
    let kind = match format.trim_start_matches(['@', '=', '<']) {
        "b" | "h" | "i" | "l" | "q" => 'i',
        "B" | "H" | "I" | "L" | "Q" => 'u',
        "f" | "d" => 'f',
        "?" => '?',
        _ => return false,
    };
    let wanted = match primitive {
        Primitive::I8 | Primitive::I16 | Primitive::I32 | Primitive::I64 => 'i',
        Primitive::U8 | Primitive::U16 | Primitive::U32 | Primitive::U64 => 'u',
        Primitive::F32 | Primitive::F64 => 'f',
        Primitive::Bool => '?',
    };
    kind == wanted && size == primitive.size()
}

fn of_numpy<'py>(
    plan: &Plan,
    node: usize,
    numpy: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let array = if is_numpy(value, "ndarray")? { value.clone() } else { numpy.call_method1("asarray", (value,))? };
    exact_array(plan, node, 1, &array, place)?;
    // As bytes: not every reader knows the buffer format of records.
    numpy.call_method1("ascontiguousarray", (&array,))?.call_method1("view", (numpy.getattr("uint8")?,))
}

/// Refuses a numpy array that is not of exactly the type and the number of dimensions.
///
/// # Errors
/// `TypeError` or `ValueError`, naming the place.
pub(super) fn exact_array(
    plan: &Plan,
    node: usize,
    dimensions: usize,
    array: &Bound<'_, PyAny>,
    place: &Place<'_>,
) -> PyResult<()> {
    refuse_mask(array, place)?;
    let wanted = match &plan.metas[node] {
        Meta::List { dtype, .. } | Meta::Array { dtype, .. } | Meta::Tensor { dtype, .. } => dtype.get(array.py())?,
        _ => None,
    };
    let found = array.getattr("dtype")?;
    match wanted {
        Some(wanted) if found.eq(wanted)? => {}
        Some(wanted) => {
            let message = format!("{place} is an array of {wanted}, and this one is of {found}: use astype");
            return Err(PyTypeError::new_err(message));
        }
        None => {
            let (Node::List(of) | Node::Array { of, .. }) = plan.core.node(node) else { return Err(plan_mismatch()) };
            let name = plan.core.name(*of);
            let message = format!("{place} is values of {name}, and this is an array of {found}; pass a list of them");
            return Err(PyTypeError::new_err(message));
        }
    }
    let found: usize = array.getattr("ndim")?.extract()?;
    if found != dimensions {
        let noun = if dimensions == 1 { "dimension" } else { "dimensions" };
        return Err(PyValueError::new_err(format!("{place} has {dimensions} {noun}, and this array has {found}")));
    }
    Ok(())
}

/// Refuses a masked array.
fn refuse_mask(array: &Bound<'_, PyAny>, place: &Place<'_>) -> PyResult<()> {
    if is_of(array, "numpy.ma", "MaskedArray")? {
        let message = format!("{place} has no place for a mask; fill it first: array.filled(value)");
        return Err(PyTypeError::new_err(message));
    }
    Ok(())
}

/// Appends the values of a tensor in C order, and returns its shape.
fn tensor(
    plan: &Plan,
    node: usize,
    of: Primitive,
    ndim: usize,
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
    out: &mut Vec<u8>,
) -> PyResult<[usize; MAX_NDIM]> {
    let mut shape = [0; MAX_NDIM];
    if let Some(numpy) = loaded(value.py(), "numpy")?
        && let Some(array) = array_of(&numpy, value, place)?
    {
        refuse_mask(&array, place)?;
        // A view of its own, of numpy's class: another thread may change the shape of the array, and a subclass may
        // show another shape than that of its values.
        let class = numpy.getattr("ndarray")?;
        let array = class.call_method1("view", (array, &class))?;
        exact_array(plan, node, ndim, &array, place)?;
        shape[..ndim].copy_from_slice(&array.getattr("shape")?.extract::<Vec<usize>>()?);
        let contiguous = numpy.call_method1("ascontiguousarray", (array,))?;
        out.extend_from_slice(Payload::of(&contiguous)?.as_slice());
        return Ok(shape);
    }
    let mut known = [None; MAX_NDIM];
    nested(of, &mut known[..ndim], value, place, out)?;
    for (len, known) in shape.iter_mut().zip(known) {
        *len = known.unwrap_or(0);
    }
    Ok(shape)
}

/// The numpy array of an object that is one, or that another library made; `None` for other objects.
fn array_of<'py>(
    numpy: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if value.is_exact_instance_of::<PyList>() || value.is_exact_instance_of::<PyTuple>() {
        return Ok(None);
    }
    if is_numpy(value, "ndarray")? {
        return Ok(Some(value.clone()));
    }
    if value.hasattr(pyo3::intern!(value.py(), "__dlpack__"))? {
        return of_dlpack(numpy, value, place).map(Some);
    }
    let is_text = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>();
    if makes_array(value)? || !is_text && has_buffer(value) {
        return numpy.call_method1("asarray", (value,)).map(Some);
    }
    Ok(None)
}

/// The numpy array of an object that exports DLPack, without a copy.
fn of_dlpack<'py>(
    numpy: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    /// The devices of DLPack whose memory the CPU reads: its own, and that of two kinds of GPU for both.
    const READABLE: [i32; 4] = [1, 3, 11, 13];
    let py = value.py();
    let (device, index): (i32, i32) = value.call_method0(pyo3::intern!(py, "__dlpack_device__"))?.extract()?;
    if !READABLE.contains(&device) {
        let found = type_name(value)?;
        return Err(PyValueError::new_err(format!(
            "{place} must lie in the memory of the CPU, and this {found} lies on the device ({device}, {index}) of \
             DLPack; copy it to the CPU first"
        )));
    }
    numpy.call_method1("from_dlpack", (value,)).map_err(|raised| {
        if !raised.is_instance_of::<PyException>(py) {
            return raised;
        }
        let error = PyValueError::new_err(format!("{place} cannot be read through DLPack: {}", raised.value(py)));
        error.set_cause(py, Some(raised));
        error
    })
}

/// Appends the numbers of nested sequences. `shape` holds the lengths found so far, from this depth on.
fn nested(
    of: Primitive,
    shape: &mut [Option<usize>],
    value: &Bound<'_, PyAny>,
    place: &Place<'_>,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let Some((len, inner)) = shape.split_first_mut() else {
        let at = out.len();
        out.resize(at + of.size(), 0);
        return number(of, value, place, &mut out[at..]);
    };
    let values = sequence(value, place)?;
    let found = values.len();
    let expected = *len.get_or_insert(found);
    if expected != found {
        return Err(PyValueError::new_err(format!(
            "{place} has {found} values, and those before it have {expected}; the rows of a tensor are equally long"
        )));
    }
    for (index, value) in values.iter().enumerate() {
        nested(of, inner, value, &Place::Item(place, index), out)?;
    }
    Ok(())
}
