//! Fields: of Structs with memory, and of `Values`, what a Struct with variable fields is made of.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use tachyon::__binding::{Node, Place};

use crate::memory::buffer_export::type_name;
use crate::runtime::invoke;
use crate::values::plan::Plan;
use crate::values::struct_memory::Memory;
use crate::values::{read, write};

/// The values of a Struct that has no fixed size, in the order of its fields.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct Values(Mutex<Vec<Option<Py<PyAny>>>>);

impl Values {
    /// An object of a class that derives from this one.
    #[inline]
    pub(crate) fn make<'py>(class: &Bound<'py, PyType>, values: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let made = invoke::new(&py.get_type::<Self>(), class, &PyTuple::empty(py))?;
        let own = values.into_iter().map(|value| Some(value.unbind())).collect();
        *made.cast::<Self>()?.get().lock() = own;
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Py<PyAny>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>, index: usize) -> Option<Bound<'py, PyAny>> {
        Some(self.lock().get(index)?.as_ref()?.bind(py).clone())
    }

    fn set(&self, index: usize, value: Py<PyAny>) {
        let mut values = self.lock();
        if values.len() <= index {
            values.resize_with(index + 1, || None);
        }
        let before = values[index].replace(value);
        // Its end may run code that looks at this.
        drop(values);
        drop(before);
    }
}

#[pymethods]
impl Values {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, pyo3::types::PyDict>>) -> Self {
        Self(Mutex::default())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Held for moments only: what is being changed is visited next time.
        if let Ok(values) = self.0.try_lock() {
            for value in values.iter() {
                visit.call(value)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let values = core::mem::take(&mut *self.lock());
        drop(values);
    }
}

/// One field of a Struct: reads and writes.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct FieldCore {
    plan: Py<Plan>,
    /// The field's type in the plan.
    of: usize,
    /// Where it lies, of a Struct with memory; which one it is, of others.
    at: usize,
    /// Its size; none of those that hold values.
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
    /// Make field number `index` of the payload that `plan` is of, or whose place is `node` in it.
    #[new]
    #[pyo3(signature = (plan, index, place, *_args))]
    fn new(plan: &Bound<'_, Plan>, index: usize, place: String, _args: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let own = plan.get();
        let (fields, is_fixed) = match own.core.node(own.root) {
            Node::Struct { fields, .. } => (fields, true),
            Node::Head { fields, .. } => (fields, false),
            _ => return Err(read::unfit()),
        };
        let Some(field) = fields.get(index) else { return Err(read::unfit()) };
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
        let place = Place::Whole(&this.place);
        if this.size.is_some() {
            let bytes = write::fixed_bytes(plan, this.of, value, &place)?;
            return Memory::write(instance.cast::<Memory>()?, this.at, &bytes);
        }
        let normal = write::normal(plan, this.of, value, &place)?;
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

    /// Its place in errors.
    #[getter]
    fn place(&self) -> &str {
        &self.place
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)
    }
}
