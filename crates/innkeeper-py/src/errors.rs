//! The core's errors as Python's exceptions.

use std::io;

use innkeeper_block::Error as BlockError;
use innkeeper_core::engine::EngineError;
use innkeeper_core::memory::MemoryError;
use pyo3::PyErr;
use pyo3::exceptions::{PyBlockingIOError, PyMemoryError, PyOSError, PyRuntimeError, PyValueError};

/// `OSError` with its errno where the host refused.
pub fn engine(error: EngineError) -> PyErr {
    match &error {
        EngineError::Host { source, .. } => host(source, &error.to_string()),
        EngineError::Refused(why) => PyValueError::new_err(why.clone()),
        EngineError::Running => PyRuntimeError::new_err(error.to_string()),
    }
}

/// `OSError` with its errno where the host refused, `BlockingIOError` where somebody else has the image, `ValueError`
/// where the image or what was asked of it is wrong.
pub fn block(error: BlockError) -> PyErr {
    let text = error.to_string();
    match &error {
        BlockError::Host { source, .. } => host(source, &text),
        BlockError::Busy(_) => PyBlockingIOError::new_err(text),
        BlockError::Corrupt(_) | BlockError::Unsupported(_) | BlockError::Refused(_) => {
            PyValueError::new_err(text)
        }
    }
}

fn host(source: &io::Error, text: &str) -> PyErr {
    match source.raw_os_error() {
        Some(number) => {
            // OSError shows the number itself.
            let suffix = format!(" (os error {number})");
            PyOSError::new_err((number, text.strip_suffix(&suffix).unwrap_or(text).to_owned()))
        }
        None => PyOSError::new_err(text.to_owned()),
    }
}

pub fn memory(error: MemoryError) -> PyErr {
    match error {
        MemoryError::Map { .. } => PyMemoryError::new_err(error.to_string()),
        MemoryError::Place { .. } => PyOSError::new_err(error.to_string()),
        MemoryError::BadSlot { .. }
        | MemoryError::OutOfRange { .. }
        | MemoryError::OutOfRam { .. }
        | MemoryError::NoRoom { .. } => PyValueError::new_err(error.to_string()),
    }
}
