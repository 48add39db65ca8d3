//! Plain values of the core as Python's: `None`, `bool`, `int`, `str`, `bytes`, `list` and `dict`.

use innkeeper_bus::state::{BadState, Value};
use pyo3::exceptions::{PyFileNotFoundError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyString};

/// A state comes from a file: no device's is deeper.
const DEEPEST: usize = 16;
const NO_SUCH_FILE: i32 = 2; // ENOENT

pub fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Nothing => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Int(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::List(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(to_python(py, value)?)?;
            }
            list.into_any()
        }
        Value::Map(fields) => {
            let dict = PyDict::new(py);
            for (name, value) in fields {
                dict.set_item(name, to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// Raises `ValueError` for what is not plain.
pub fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    plain(value, DEEPEST)
}

fn plain(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(PyValueError::new_err("the state is nested too deeply"));
    };
    if value.is_none() {
        return Ok(Value::Nothing);
    }
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if let Ok(value) = value.cast::<PyInt>() {
        let beyond = |_| PyValueError::new_err(format!("{value} is no number of 64 bits"));
        return value.extract().map(Value::Int).map_err(beyond);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::Text(text.to_string_lossy().into_owned()));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
    }
    if let Ok(list) = value.cast::<PyList>() {
        return list.iter().map(|value| plain(&value, depth)).collect::<PyResult<_>>().map(Value::List);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let field = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let name = name.cast::<PyString>()?.to_string_lossy().into_owned();
            Ok((name, plain(&value, depth)?))
        };
        return dict.iter().map(field).collect::<PyResult<_>>().map(Value::Map);
    }
    Err(PyValueError::new_err(format!("a {} is no plain value", value.get_type().name()?)))
}

/// As `ValueError`; as `FileNotFoundError` if the host lacks what the state needs.
pub fn bad_state(error: BadState) -> PyErr {
    let text = error.to_string();
    if error.is_missing() {
        return PyFileNotFoundError::new_err((NO_SUCH_FILE, text));
    }
    PyValueError::new_err(text)
}
