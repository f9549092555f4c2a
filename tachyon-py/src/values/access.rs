//! The access of Python code to values: the methods of `Plan` and of `Items`, and `FieldCore`, a field of a Struct.

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice, PyString, PyTuple};
use tachyon::__binding::{Node, Place, PlanField};

use crate::memory::buffer_export::type_name;
use crate::memory::payload::Payload;
use crate::values::objects::{Items, Memory, Values};
use crate::values::plan::{Plan, plan_mismatch};
use crate::values::read;
use crate::values::write::{self, Scratch};

#[pymethods]
impl Plan {
    /// Make a plan of types. Each type refers to earlier types by their index; the last type is the whole message.
    #[new]
    fn new(nodes: &Bound<'_, PyList>) -> PyResult<Self> {
        Self::of_nodes(nodes)
    }

    /// Give the message of a value, or raise `TypeError`, `ValueError` or `OverflowError` naming `place`.
    fn encode<'py>(&self, value: &Bound<'py, PyAny>, place: &str) -> PyResult<Bound<'py, PyBytes>> {
        let mut scratch = Scratch::take();
        write::message(self, value, &Place::Root(place), &mut scratch)?;
        Ok(PyBytes::new(value.py(), &scratch))
    }

    /// Give the message of the fields of a head.
    fn encode_fields<'py>(&self, values: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyBytes>> {
        let mut scratch = Scratch::take();
        write::fields(self, &values.iter().collect::<Vec<_>>(), &mut scratch)?;
        Ok(PyBytes::new(values.py(), &scratch))
    }

    /// Give the value of a message, which shares no memory with it, or raise `BadRequestError`.
    fn decode<'py>(slf: &Bound<'py, Self>, data: &Bound<'py, PyAny>, place: &str) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(data) = data.cast::<PyBytes>() {
            return read::own(slf, data.as_bytes(), true, place);
        }
        // Copied: making values may run code that changes a bytearray.
        let copy = Payload::of(data)?.as_slice().to_vec();
        read::own(slf, &copy, true, place)
    }

    /// Give the value that a variable Struct's field, or a default, holds for `value`.
    fn normal<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>, place: &str) -> PyResult<Bound<'py, PyAny>> {
        read::normal(slf, slf.get().root, value, &Place::Root(place))
    }

    /// Size of a fixed value in bytes; None for other values.
    #[getter]
    fn size(&self) -> Option<usize> {
        self.core.layout(self.root).map(|(size, _)| size)
    }

    /// Alignment of a fixed value in bytes; None for other values.
    #[getter]
    fn align(&self) -> Option<usize> {
        self.core.layout(self.root).map(|(_, align)| align)
    }

    /// Size of a Struct, or of the head of other payloads, in bytes, and the offset of each field.
    fn offsets(&self) -> (usize, Vec<usize>) {
        match self.core.node(self.root) {
            Node::Struct { fields, .. } | Node::Head { fields, .. } => {
                let end = self.core.layout(self.root).map_or(self.core.head_len(self.root), |(size, _)| size);
                (end, fields.iter().map(PlanField::offset).collect())
            }
            _ => (0, Vec::new()),
        }
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }
}

impl Items {
    fn count(slf: &Bound<'_, Self>) -> usize {
        slf.as_super().get().len() / slf.get().size
    }

    fn value<'py>(slf: &Bound<'py, Self>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let (memory, at) = (slf.as_super(), index * this.size);
        Memory::read(memory, at, this.size, |bytes| {
            read::fixed(this.plan.bind(py), this.of, bytes, || Ok(memory.get().window(py, at)))
        })
    }

    fn place(slf: &Bound<'_, Self>, index: isize) -> PyResult<usize> {
        let count = Self::count(slf);
        let found = if index < 0 { index.checked_add_unsigned(count) } else { Some(index) };
        match found.map(usize::try_from) {
            Some(Ok(found)) if found < count => Ok(found),
            _ => Err(PyIndexError::new_err(format!("index {index} is out of an Array of {count}"))),
        }
    }
}

#[pymethods]
impl Items {
    #[new]
    #[pyo3(signature = (view, at, length, form, plan, of, /))]
    fn new(
        view: Bound<'_, pyo3::types::PyMemoryView>,
        at: usize,
        length: usize,
        form: Py<PyString>,
        plan: &Bound<'_, Plan>,
        of: usize,
    ) -> PyResult<PyClassInitializer<Self>> {
        let memory = Memory::new(view, at, length, form)?;
        let own = plan.get();
        let layout = if of < own.metas.len() { own.core.layout(of) } else { None };
        let Some((size, _)) = layout else { return Err(plan_mismatch()) };
        Ok(PyClassInitializer::from(memory).add_subclass(Self { plan: plan.clone().unbind(), of, size }))
    }

    fn __len__(slf: &Bound<'_, Self>) -> usize {
        Self::count(slf)
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Ok(slice) = index.cast::<PySlice>() else {
            return Self::value(slf, Self::place(slf, index.extract()?)?);
        };
        let found = slice.indices(Self::count(slf).cast_signed())?;
        let list = PyList::empty(slf.py());
        let mut at = found.start;
        for _ in 0..found.slicelength {
            list.append(Self::value(slf, Self::place(slf, at)?)?)?;
            at += found.step;
        }
        Ok(list.into_any())
    }

    fn __setitem__(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if index.is_instance_of::<PySlice>() {
            return Err(PyTypeError::new_err("an Array's values are set one by one, not by slices"));
        }
        let index = Self::place(slf, index.extract()?)?;
        let this = slf.get();
        let place = Place::Root("");
        let bytes = write::fixed_bytes(this.plan.bind(slf.py()), this.of, value, &Place::Item(&place, index))?;
        Memory::write(slf.as_super(), index * this.size, &bytes)
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)
    }
}

/// One field of a Struct: reads and writes.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct FieldCore {
    plan: Py<Plan>,
    /// The field's type in the plan.
    of: usize,
    /// The offset of the field in a Struct with memory; otherwise the index of the field.
    at: usize,
    /// Size in bytes in a Struct with memory; `None` in a Struct that holds values.
    size: Option<usize>,
    place: String,
}

impl FieldCore {
    fn missing(&self) -> PyErr {
        PyAttributeError::new_err(format!("{} has no value", self.place))
    }
}

#[pymethods]
impl FieldCore {
    /// Make field number `index` of the payload of `plan`.
    #[new]
    #[pyo3(signature = (plan, index, place, *_args))]
    fn new(plan: &Bound<'_, Plan>, index: usize, place: String, _args: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let own = plan.get();
        let (fields, is_fixed) = match own.core.node(own.root) {
            Node::Struct { fields, .. } => (fields, true),
            Node::Head { fields, .. } => (fields, false),
            _ => return Err(plan_mismatch()),
        };
        let Some(field) = fields.get(index) else { return Err(plan_mismatch()) };
        let size = if is_fixed { own.core.layout(field.of).map(|(size, _)| size) } else { None };
        let at = if is_fixed { field.offset() } else { index };
        Ok(Self { plan: plan.clone().unbind(), of: field.of, at, size, place })
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<&Bound<'py, PyAny>>,
        _owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(instance) = instance else { return Ok(slf.clone().into_any()) };
        let (py, this) = (slf.py(), slf.get());
        if let Some(size) = this.size {
            let memory = instance.cast::<Memory>()?;
            let window = || Ok(memory.get().window(py, this.at));
            return Memory::read(memory, this.at, size, |bytes| {
                read::fixed(this.plan.bind(py), this.of, bytes, window)
            });
        }
        instance.cast::<Values>()?.get().get(py, this.at).ok_or_else(|| this.missing())
    }

    fn __set__(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        let plan = this.plan.bind(slf.py());
        let place = Place::Root(&this.place);
        if this.size.is_some() {
            let bytes = write::fixed_bytes(plan, this.of, value, &place)?;
            return Memory::write(instance.cast::<Memory>()?, this.at, &bytes);
        }
        let normal = read::normal(plan, this.of, value, &place)?;
        instance.cast::<Values>()?.get().set(this.at, normal.unbind());
        Ok(())
    }

    /// Give a Struct the field's default.
    fn reset(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        let plan = this.plan.bind(slf.py());
        let value = read::default(plan, plan.get().root, this.at, this.of)?;
        instance.cast::<Values>()?.get().set(this.at, value.unbind());
        Ok(())
    }

    fn __delete__(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = type_name(instance)?;
        Err(PyTypeError::new_err(format!("{} is a part of every {name}", slf.get().place)))
    }

    /// The field's name in error texts.
    #[getter]
    fn place(&self) -> &str {
        &self.place
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)
    }
}
