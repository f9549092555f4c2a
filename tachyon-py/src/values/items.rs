//! `Items`: what an Array is made of, values of one type one behind the other.

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice, PyString, PyType};
use tachyon::__binding::Place;

use crate::runtime::invoke;
use crate::values::plan::Plan;
use crate::values::read::{self, Window};
use crate::values::struct_memory::Memory;
use crate::values::write;

/// Values of one type, where they lie.
#[pyclass(module = "tachyon._tachyon", extends = Memory, subclass, frozen)]
pub(crate) struct Items {
    pub(crate) plan: Py<Plan>,
    /// The type of each.
    pub(crate) of: usize,
    size: usize,
}

impl Items {
    /// The values in `len` bytes of a window.
    pub(crate) fn make<'py>(
        plan: &Bound<'py, Plan>,
        of: usize,
        class: &Bound<'py, PyType>,
        letter: &Bound<'py, PyString>,
        window: &Window<'py>,
        len: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = plan.py();
        let arguments = (&window.view, window.at, len, letter, plan, of).into_pyobject(py)?;
        invoke::new(&py.get_type::<Self>(), class, &arguments)
    }

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
        let Some((size, _)) = layout else { return Err(read::unfit()) };
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
        let place = Place::Whole("");
        let bytes = write::fixed_bytes(this.plan.bind(slf.py()), this.of, value, &Place::Item(&place, index))?;
        Memory::write(slf.as_super(), index * this.size, &bytes)
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)
    }
}
