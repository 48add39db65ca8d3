//! A Python object on a bus.
//!
//! A device may raise. The guest must not notice (it reads all ones), so the exception waits with
//! the vCPU whose access it was, that vCPU is kicked, and [`crate::vcpu::Vcpu`] raises it.

use std::cell::RefCell;
use std::sync::Arc;

use innkeeper_core::bus::Device;
use innkeeper_core::engine::Vcpu;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The bound methods of a device.
pub struct Adapter {
    read: Py<PyAny>,
    write: Py<PyAny>,
}

impl Adapter {
    pub fn new(device: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { read: device.getattr("read")?.unbind(), write: device.getattr("write")?.unbind() })
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.read)?;
        visit.call(&self.write)
    }
}

impl Device for Adapter {
    fn read(&self, offset: u64, size: u8) -> u64 {
        // No interpreter any more, at the end of the process: nobody is left on this bus.
        Python::try_attach(|py| {
            let value = self.read.call1(py, (offset, size)).and_then(|value| value.extract(py));
            value.unwrap_or_else(|error| {
                raised(py, error, &self.read);
                u64::MAX
            })
        })
        .unwrap_or(u64::MAX)
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        Python::try_attach(|py| {
            if let Err(error) = self.write.call1(py, (offset, size, value)) {
                raised(py, error, &self.write);
            }
        });
    }
}

/// The vCPU that this thread runs, and what its accesses raised.
struct Current {
    vcpu: Arc<dyn Vcpu>,
    error: Option<PyErr>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Calls `run` while exceptions of Python devices collect for `vcpu`; gives the first of them too.
pub fn collecting<T>(vcpu: &Arc<dyn Vcpu>, run: impl FnOnce() -> T) -> (T, Option<PyErr>) {
    /// Puts back what was before, even if `run` panics.
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _before = Restore(CURRENT.replace(Some(Current { vcpu: Arc::clone(vcpu), error: None })));
    let result = run();
    (result, CURRENT.take().and_then(|current| current.error))
}

fn raised(py: Python<'_>, error: PyErr, method: &Py<PyAny>) {
    let error = CURRENT.with_borrow_mut(|current| match current {
        Some(Current { vcpu, error: kept @ None }) => {
            *kept = Some(error);
            vcpu.kick();
            None
        }
        _ => Some(error),
    });
    // A second one before `run` could return, or no vCPU's access at all: only the hook is left.
    if let Some(error) = error {
        error.write_unraisable(py, Some(method.bind(py)));
    }
}
