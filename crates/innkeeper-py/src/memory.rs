//! Guest RAM.

use std::sync::Arc;

use std::os::fd::RawFd;

use innkeeper_core::memory::{GuestMemory, Image, MemoryError, Ram as CoreRam};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{errors, memory_image};

#[pyclass(frozen, module = "innkeeper._core")]
pub struct Memory {
    pub memory: Arc<GuestMemory>,
}

/// A piece of memory that has no fixed place.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Ram {
    pub ram: Arc<CoreRam>,
}

#[pymethods]
impl Ram {
    #[getter]
    fn size(&self) -> u64 {
        self.ram.size()
    }

    #[pyo3(signature = (offset, length, /))]
    fn read<'py>(&self, py: Python<'py>, offset: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        if length > self.ram.size() {
            let size = self.ram.size();
            return Err(errors::memory(MemoryError::OutOfRam { offset, length, size }));
        }
        PyBytes::new_with(py, length as usize, |out| self.ram.read(offset, out).map_err(errors::memory))
    }

    #[pyo3(signature = (offset, data, /))]
    fn write(&self, offset: u64, data: &[u8]) -> PyResult<()> {
        self.ram.write(offset, data).map_err(errors::memory)
    }

    #[pyo3(signature = (descriptor, watch = None, /))]
    fn save(&self, py: Python<'_>, descriptor: RawFd, watch: Option<Py<PyAny>>) -> PyResult<()> {
        memory_image::write(py, &Image::of_ram(&self.ram), descriptor, watch.as_ref())
    }

    #[pyo3(signature = (descriptor, watch = None, /))]
    fn restore(&self, py: Python<'_>, descriptor: RawFd, watch: Option<Py<PyAny>>) -> PyResult<()> {
        memory_image::read(py, &Image::of_ram(&self.ram), descriptor, watch.as_ref())
    }
}

#[pymethods]
impl Memory {
    #[new]
    #[pyo3(signature = (ranges, /))]
    fn new(py: Python<'_>, ranges: Vec<(u64, u64)>) -> PyResult<Self> {
        let memory = py.detach(|| GuestMemory::new(&ranges)).map_err(errors::memory)?;
        Ok(Self { memory: Arc::new(memory) })
    }

    #[getter]
    fn size(&self) -> u64 {
        self.memory.size()
    }

    #[getter]
    fn ranges(&self) -> Vec<(u64, u64)> {
        self.memory.slots().iter().map(|slot| (slot.gpa, slot.size)).collect()
    }

    #[pyo3(signature = (gpa, length, /))]
    fn read<'py>(&self, py: Python<'py>, gpa: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        if length == 0 {
            return Ok(PyBytes::new(py, &[]));
        }
        // Before anything is allocated.
        if length > self.memory.slots().iter().map(|slot| slot.size).sum() {
            return Err(errors::memory(MemoryError::OutOfRange { gpa, length }));
        }
        PyBytes::new_with(py, length as usize, |out| self.memory.read(gpa, out).map_err(errors::memory))
    }

    #[pyo3(signature = (gpa, data, /))]
    fn write(&self, gpa: u64, data: &[u8]) -> PyResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.memory.write(gpa, data).map_err(errors::memory)
    }

    fn clear(&self, py: Python<'_>) {
        py.detach(|| self.memory.clear());
    }

    #[pyo3(signature = (descriptor, watch = None, /))]
    fn save(&self, py: Python<'_>, descriptor: RawFd, watch: Option<Py<PyAny>>) -> PyResult<()> {
        memory_image::write(py, &Image::of_memory(&self.memory), descriptor, watch.as_ref())
    }

    #[pyo3(signature = (descriptor, watch = None, /))]
    fn restore(&self, py: Python<'_>, descriptor: RawFd, watch: Option<Py<PyAny>>) -> PyResult<()> {
        memory_image::read(py, &Image::of_memory(&self.memory), descriptor, watch.as_ref())
    }

    #[pyo3(signature = (size, /))]
    fn device_ram(&self, size: u64) -> PyResult<Ram> {
        let ram = CoreRam::take(&self.memory, size).map_err(errors::memory)?;
        Ok(Ram { ram: Arc::new(ram) })
    }

    #[pyo3(signature = (gpa, /))]
    fn movable_ram(&self, gpa: u64) -> PyResult<Ram> {
        let ram = CoreRam::movable(&self.memory, gpa).map_err(errors::memory)?;
        Ok(Ram { ram: Arc::new(ram) })
    }
}
