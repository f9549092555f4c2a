//! `Plan`: the types of one hint, as the core encodes them and as Python shows their values.
//!
//! `tachyon._layout` makes one plan of each hint. [`read`](crate::values::read) decodes by it, and
//! [`write`](crate::values::write) encodes; no Python code runs for a field.

use pyo3::exceptions::{PyRuntimeError, PySystemError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};
use tachyon::__binding::{Node, PlanField};
use tachyon::payload::Primitive;

/// The Python form of the values of one type.
pub(crate) enum Meta {
    /// A builtin type.
    Plain,
    /// A fixed number of values in place.
    Array { class: Py<PyType>, letter: Py<PyString>, dtype: Dtype },
    /// Members of an enum class, by their numbers.
    Enum { class: Py<PyType>, members: Py<PyDict> },
    /// A class with memory.
    Struct { class: Py<PyType> },
    /// Any number of values.
    List { shown: Shown, dtype: Dtype },
    /// Numbers in several dimensions. `frombuffer` is numpy's; without it, values are nested lists.
    Tensor { frombuffer: Option<Py<PyAny>>, dtype: Dtype },
    /// Arguments, or a class that holds values.
    Head { class: Option<Py<PyType>>, defaults: Vec<Option<Py<PyAny>>> },
}

/// The Python form of a list.
pub(crate) enum Shown {
    List,
    Array { class: Py<PyType>, letter: Py<PyString> },
    Numpy { frombuffer: Py<PyAny> },
    Bytes,
    Memoryview,
}

/// The numpy dtype of each value, made at the first numpy array.
pub(crate) struct Dtype {
    /// Makes the dtype; `None` for a type without one.
    make: Option<Py<PyAny>>,
    made: PyOnceLock<Py<PyAny>>,
}

impl Dtype {
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<Option<&Bound<'py, PyAny>>> {
        let Some(make) = &self.make else { return Ok(None) };
        Ok(Some(self.made.get_or_try_init(py, || make.call0(py))?.bind(py)))
    }
}

/// The types of one hint.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Plan {
    pub(crate) core: tachyon::__binding::Plan,
    pub(crate) metas: Vec<Meta>,
    /// The type of the whole message.
    pub(crate) root: usize,
    /// Whether a value may be a view of its message.
    pub(crate) reads_in_place: bool,
}

fn number(value: &Bound<'_, PyAny>) -> PyResult<Primitive> {
    let name: String = value.extract()?;
    let found = Primitive::ALL.into_iter().find(|primitive| primitive.name() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("there is no number {name}")))
}

/// The parts of a type after its kind.
struct Parts<'a, 'py>(&'a Bound<'py, PyTuple>);

impl<'py> Parts<'_, 'py> {
    fn get<T: for<'a> FromPyObject<'a, 'py>>(&self, at: usize) -> PyResult<T> {
        self.0.get_item(at)?.extract().map_err(Into::into)
    }

    fn object(&self, at: usize) -> PyResult<Bound<'py, PyAny>> {
        self.0.get_item(at)
    }

    fn class(&self, at: usize) -> PyResult<Py<PyType>> {
        Ok(self.0.get_item(at)?.cast_into::<PyType>()?.unbind())
    }

    fn text(&self, at: usize) -> PyResult<Py<PyString>> {
        Ok(self.0.get_item(at)?.cast_into::<PyString>()?.unbind())
    }

    fn dtype(&self, at: usize) -> PyResult<Dtype> {
        let make = self.some(at, |parts, at| Ok(parts.object(at)?.unbind()))?;
        Ok(Dtype { make, made: PyOnceLock::new() })
    }

    fn some<T>(&self, at: usize, make: impl FnOnce(&Self, usize) -> PyResult<T>) -> PyResult<Option<T>> {
        if self.0.get_item(at)?.is_none() { Ok(None) } else { make(self, at).map(Some) }
    }
}

/// Parses one type of the list that `tachyon._layout` makes.
fn node(tuple: &Bound<'_, PyTuple>) -> PyResult<(Node, Meta)> {
    let parts = Parts(tuple);
    let kind: String = parts.get(0)?;
    Ok(match kind.as_str() {
        "number" => (Node::Primitive(number(&parts.object(1)?)?), Meta::Plain),
        "bytes" => (Node::Bytes(parts.get(1)?), Meta::Plain),
        "text" => (Node::FixedText(parts.get(1)?), Meta::Plain),
        "array" => {
            let meta = Meta::Array { class: parts.class(4)?, letter: parts.text(5)?, dtype: parts.dtype(3)? };
            (Node::Array { of: parts.get(1)?, len: parts.get(2)? }, meta)
        }
        "enum" => {
            let members = parts.object(3)?.cast_into::<PyDict>()?;
            let values = members.keys().iter().map(|key| key.extract::<i128>()).collect::<PyResult<_>>()?;
            let node = Node::Enum { name: parts.get(1)?, repr: number(&parts.object(2)?)?, values };
            (node, Meta::Enum { class: parts.class(4)?, members: members.unbind() })
        }
        "struct" => {
            let name: String = parts.get(1)?;
            let fields: Vec<(String, usize)> = parts.get(2)?;
            let field = |(own, of): &(String, usize)| PlanField::new(own, format!("{name}.{own}"), *of, false);
            let node = Node::Struct { fields: fields.iter().map(field).collect(), name };
            (node, Meta::Struct { class: parts.class(3)? })
        }
        "str" => (Node::Text, Meta::Plain),
        "list" => {
            let shown = match parts.get::<String>(2)?.as_str() {
                "list" => Shown::List,
                "array" => Shown::Array { class: parts.class(4)?, letter: parts.text(5)? },
                "numpy" => Shown::Numpy { frombuffer: parts.object(4)?.unbind() },
                "memoryview" => Shown::Memoryview,
                _ => Shown::Bytes,
            };
            (Node::List(parts.get(1)?), Meta::List { shown, dtype: parts.dtype(3)? })
        }
        "option" => (Node::Option(parts.get(1)?), Meta::Plain),
        "tensor" => {
            let frombuffer = parts.some(4, |parts, at| Ok(parts.object(at)?.unbind()))?;
            let node = Node::Tensor { of: number(&parts.object(1)?)?, ndim: parts.get(2)? };
            (node, Meta::Tensor { frombuffer, dtype: parts.dtype(3)? })
        }
        "head" => {
            let mut defaults = Vec::new();
            let mut fields = Vec::new();
            for field in parts.object(2)?.try_iter()? {
                let field = field?.cast_into::<PyTuple>()?;
                let field = Parts(&field);
                let has_default: bool = field.get(3)?;
                let name: String = field.get(0)?;
                fields.push(PlanField::new(&name, field.get(1)?, field.get(2)?, has_default));
                defaults.push(if has_default { Some(field.object(4)?.unbind()) } else { None });
            }
            let class = parts.some(3, Parts::class)?;
            (Node::Head { name: parts.get(1)?, fields }, Meta::Head { class, defaults })
        }
        other => return Err(PyValueError::new_err(format!("there is no kind {other}"))),
    })
}

impl Plan {
    /// Parses the types that `tachyon._layout` lists.
    pub(crate) fn of_nodes(nodes: &Bound<'_, PyList>) -> PyResult<Self> {
        let mut core = tachyon::__binding::Plan::new();
        let mut metas = Vec::with_capacity(nodes.len());
        let mut reads_in_place = false;
        for tuple in nodes.iter() {
            let (node, meta) = node(&tuple.cast_into::<PyTuple>()?)?;
            core.add(node).map_err(|error| PyTypeError::new_err(error.to_string()))?;
            reads_in_place |= matches!(
                meta,
                Meta::Tensor { .. }
                    | Meta::List { shown: Shown::Array { .. } | Shown::Numpy { .. } | Shown::Memoryview, .. }
            );
            metas.push(meta);
        }
        let root = metas.len().checked_sub(1).ok_or_else(|| PyRuntimeError::new_err("a plan has a type"))?;
        reads_in_place |= matches!(metas[root], Meta::Struct { .. } | Meta::Array { .. });
        Ok(Self { core, metas, root, reads_in_place })
    }

    /// Visits every reference for the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for meta in &self.metas {
            match meta {
                Meta::Plain => {}
                Meta::Struct { class } => visit.call(class)?,
                Meta::Array { class, dtype, .. } => {
                    visit.call(class)?;
                    visit.call(&dtype.make)?;
                }
                Meta::Enum { class, members } => {
                    visit.call(class)?;
                    visit.call(members)?;
                }
                Meta::List { shown, dtype } => {
                    match shown {
                        Shown::Array { class, .. } => visit.call(class)?,
                        Shown::Numpy { frombuffer } => visit.call(frombuffer)?,
                        Shown::List | Shown::Bytes | Shown::Memoryview => {}
                    }
                    visit.call(&dtype.make)?;
                }
                Meta::Tensor { frombuffer, dtype } => {
                    visit.call(frombuffer)?;
                    visit.call(&dtype.make)?;
                }
                Meta::Head { class, defaults } => {
                    visit.call(class)?;
                    for default in defaults {
                        visit.call(default)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether two types have the same values.
    pub(crate) fn is_same(&self, node: usize, other: &Self, theirs: usize) -> bool {
        if core::ptr::eq(self, other) && node == theirs {
            return true;
        }
        match (self.core.node(node), other.core.node(theirs)) {
            (Node::Primitive(mine), Node::Primitive(other)) => mine == other,
            (Node::Bytes(mine), Node::Bytes(other)) | (Node::FixedText(mine), Node::FixedText(other)) => mine == other,
            (Node::Array { of, len }, Node::Array { of: theirs, len: other_len }) => {
                len == other_len && self.is_same(*of, other, *theirs)
            }
            _ => match (&self.metas[node], &other.metas[theirs]) {
                (Meta::Enum { class, .. }, Meta::Enum { class: other, .. })
                | (Meta::Struct { class }, Meta::Struct { class: other }) => class.is(other),
                _ => false,
            },
        }
    }
}

/// The error for a plan whose two halves disagree: a bug of this package.
#[cold]
pub(crate) fn plan_mismatch() -> PyErr {
    PySystemError::new_err("a plan's types and what Python shows of them differ")
}
