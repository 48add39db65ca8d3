//! Disk images, as Python opens them and device models are handed them.

use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use innkeeper_block::{
    Cache, Count, Counted, DetectZeroes, Disk as BlockDisk, Error, Format, Options, Rules, open_image,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors;

/// An open image. Devices keep what they are given: [`Disk::disk`].
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Disk {
    /// `None` once closed.
    disk: Mutex<Option<Arc<Counted>>>,
    format: &'static str,
    chain: Vec<PathBuf>,
    warnings: Vec<String>,
}

fn ignores_discard(word: &str) -> Result<bool, Error> {
    match word {
        "unmap" => Ok(false),
        "ignore" => Ok(true),
        _ => Err(Error::Refused(format!("discard {word:?} is unknown, it is unmap or ignore"))),
    }
}

impl Disk {
    /// For device models.
    ///
    /// # Errors
    /// It is closed.
    pub fn disk(&self) -> PyResult<Arc<dyn BlockDisk>> {
        Ok(self.counted()?)
    }

    fn counted(&self) -> PyResult<Arc<Counted>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.clone().ok_or_else(|| PyValueError::new_err("the disk is closed"))
    }
}

#[pymethods]
impl Disk {
    #[new]
    #[pyo3(signature = (path, /, *, format=None, read_only=false, backing=true, lock=true, cache="writeback",
                        discard="unmap", detect_zeroes="off"))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // keyword arguments of Python
    fn new(
        py: Python<'_>,
        path: PathBuf,
        format: Option<&str>,
        read_only: bool,
        backing: bool,
        lock: bool,
        cache: &str,
        discard: &str,
        detect_zeroes: &str,
    ) -> PyResult<Self> {
        let rules = Rules {
            cache: Cache::named(cache).map_err(errors::block)?,
            detect_zeroes: DetectZeroes::named(detect_zeroes).map_err(errors::block)?,
            ignore_discard: ignores_discard(discard).map_err(errors::block)?,
            guessed_raw: false,
        };
        let format = format.map(Format::named).transpose().map_err(errors::block)?;
        let options = Options { format, read_only, without_backing: !backing, unlocked: !lock, rules };
        let image = py.detach(|| open_image(&path, &options)).map_err(errors::block)?;
        Ok(Self {
            disk: Mutex::new(Some(Arc::new(Counted::new(image.disk)))),
            format: image.format.name(),
            chain: image.chain,
            warnings: image.warnings,
        })
    }

    #[getter]
    fn format(&self) -> &'static str {
        self.format
    }

    #[getter]
    fn chain(&self) -> Vec<PathBuf> {
        self.chain.clone()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
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

    #[pyo3(signature = (size, /))]
    fn grow(&self, py: Python<'_>, size: u64) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.grow(size))?)
    }

    fn traffic<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let traffic = self.counted()?.traffic();
        let all = PyDict::new(py);
        let triple = |count: Count| (count.requests, count.bytes, count.nanoseconds);
        all.set_item("read", triple(traffic.read))?;
        all.set_item("written", triple(traffic.written))?;
        all.set_item("flushed", triple(traffic.flushed))?;
        all.set_item("failed", traffic.failed)?;
        Ok(all)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(disk) = disk else { return Ok(()) };
        Ok(py.detach(move || if disk.is_read_only() { Ok(()) } else { disk.flush() })?)
    }
}
