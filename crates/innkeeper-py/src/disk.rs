//! Disk images, as Python opens them and device models are handed them.

use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use innkeeper_block::{Disk as BlockDisk, Format, Options, open};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;

/// An open image. Devices keep what they are given: [`Disk::disk`].
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Disk {
    /// `None` once closed.
    disk: Mutex<Option<Arc<dyn BlockDisk>>>,
}

impl Disk {
    /// For device models.
    ///
    /// # Errors
    /// It is closed.
    pub fn disk(&self) -> PyResult<Arc<dyn BlockDisk>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.clone().ok_or_else(|| PyValueError::new_err("the disk is closed"))
    }
}

#[pymethods]
impl Disk {
    #[new]
    #[pyo3(signature = (path, /, *, format=None, read_only=false))]
    fn new(py: Python<'_>, path: PathBuf, format: Option<&str>, read_only: bool) -> PyResult<Self> {
        let format = format.map(Format::named).transpose().map_err(errors::block)?;
        let options = Options { format, read_only };
        let disk = py.detach(|| open(&path, &options)).map_err(errors::block)?;
        Ok(Self { disk: Mutex::new(Some(disk)) })
    }

    #[getter]
    fn size(&self) -> PyResult<u64> {
        Ok(self.disk()?.size())
    }

    #[getter]
    fn read_only(&self) -> PyResult<bool> {
        Ok(self.disk()?.is_read_only())
    }

    #[pyo3(signature = (offset, length, /))]
    fn read<'py>(&self, py: Python<'py>, offset: u64, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        let disk = self.disk()?;
        PyBytes::new_with(py, length, |out| {
            py.detach(|| disk.read(offset, &mut [IoSliceMut::new(out)]))?;
            Ok(())
        })
    }

    #[pyo3(signature = (offset, data, /))]
    fn write(&self, py: Python<'_>, offset: u64, data: &[u8]) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.write(offset, &[IoSlice::new(data)]))?)
    }

    #[pyo3(signature = (offset, length, /, *, unmap=false))]
    fn write_zeroes(&self, py: Python<'_>, offset: u64, length: u64, unmap: bool) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.write_zeroes(offset, length, unmap))?)
    }

    #[pyo3(signature = (offset, length, /))]
    fn discard(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.discard(offset, length))?)
    }

    #[pyo3(signature = (offset, length, /))]
    fn extent(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<(u64, bool, bool)> {
        let disk = self.disk()?;
        let extent = py.detach(|| disk.extent(offset, length))?;
        Ok((extent.length, extent.zero, extent.here))
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.flush())?)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(disk) = disk else { return Ok(()) };
        Ok(py.detach(move || if disk.is_read_only() { Ok(()) } else { disk.flush() })?)
    }
}
