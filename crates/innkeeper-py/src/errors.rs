//! The core's errors as Python's exceptions.

use innkeeper_core::engine::EngineError;
use innkeeper_core::memory::MemoryError;
use pyo3::PyErr;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyValueError};

/// `OSError` with its errno where the host refused.
pub fn engine(error: EngineError) -> PyErr {
    match &error {
        EngineError::Host { source, .. } => match source.raw_os_error() {
            Some(number) => {
                // OSError shows the number itself.
                let text = error.to_string();
                let suffix = format!(" (os error {number})");
                PyOSError::new_err((number, text.strip_suffix(&suffix).unwrap_or(&text).to_owned()))
            }
            None => PyOSError::new_err(error.to_string()),
        },
        EngineError::Refused(why) => PyValueError::new_err(why.clone()),
        EngineError::Running => PyRuntimeError::new_err(error.to_string()),
    }
}

pub fn memory(error: MemoryError) -> PyErr {
    match error {
        MemoryError::Map { .. } => PyMemoryError::new_err(error.to_string()),
        MemoryError::BadSlot { .. } | MemoryError::OutOfRange { .. } => {
            PyValueError::new_err(error.to_string())
        }
    }
}
