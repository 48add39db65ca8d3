//! Disk images, as Python opens them and device models are handed them.

use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use innkeeper_block::{
    Cache, Count, Counted, DetectZeroes, Disk as BlockDisk, Error, Format, Move, Options, Rules, Switch,
    move_all, open_image, reopen, snapshot_all, tools::snapshot::Action,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors;

/// An open image. Devices keep what they are given: [`Disk::disk`].
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Disk {
    /// `None` once closed.
    disk: Mutex<Option<Open>>,
    /// From the image down.
    chain: Mutex<Vec<PathBuf>>,
    pub rules: Rules,
    format: Mutex<&'static str>,
    warnings: Vec<String>,
}

/// The same disk twice: as devices see it, and below that where it can be moved.
#[derive(Clone)]
pub struct Open {
    pub counted: Arc<Counted>,
    pub switch: Arc<Switch>,
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

    /// # Errors
    /// It is closed.
    pub fn open(&self) -> PyResult<Open> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.clone().ok_or_else(|| PyValueError::new_err("the disk is closed"))
    }

    /// It has moved.
    pub fn is_now(&self, chain: Vec<PathBuf>, format: Format) {
        *self.chain_now() = chain;
        *self.format.lock().unwrap_or_else(PoisonError::into_inner) = format.name();
    }

    /// Has what lies below it be only read from now on. What cannot be, such as a file that has another name by now, stays locked for
    /// others; nothing else depends on it.
    pub fn let_others_read_below(&self) -> PyResult<()> {
        let (open, chain) = (self.open()?, self.chain_now().clone());
        let _ = open.switch.quietly(|now| reopen::rest_for_reading(now, &chain, self.rules));
        Ok(())
    }

    fn counted(&self) -> PyResult<Arc<Counted>> {
        Ok(self.open()?.counted)
    }

    pub fn chain_now(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
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
        let switch = Arc::new(Switch::new(image.disk));
        let counted = Arc::new(Counted::new(Arc::clone(&switch) as _));
        Ok(Self {
            disk: Mutex::new(Some(Open { counted, switch })),
            chain: Mutex::new(image.chain),
            rules,
            format: Mutex::new(image.format.name()),
            warnings: image.warnings,
        })
    }

    #[getter]
    fn format(&self) -> &'static str {
        *self.format.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[getter]
    fn chain(&self) -> Vec<PathBuf> {
        self.chain_now().clone()
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

    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        let disk = self.disk()?;
        Ok(py.detach(|| disk.settle())?)
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
        all.set_item("error", traffic.error)?;
        Ok(all)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { counted: disk, switch }) = disk else { return Ok(()) };
        drop(switch);
        Ok(py.detach(move || if disk.is_read_only() { Ok(()) } else { disk.flush() })?)
    }
}

/// Moves disks in use onto overlays, all at one moment or none.
#[pyfunction]
#[pyo3(signature = (moves, /))]
pub fn lay_overlays(py: Python<'_>, moves: Vec<(Py<Disk>, PathBuf)>) -> PyResult<()> {
    let mut opened = Vec::with_capacity(moves.len());
    for (disk, overlay) in &moves {
        let disk = disk.get();
        let base = disk.chain_now().first().cloned().unwrap_or_default();
        opened.push((disk.open()?.switch, base, overlay, disk.rules));
    }
    py.detach(|| {
        let wanted: Vec<Move<'_>> = opened
            .iter()
            .map(|(disk, base, overlay, rules)| Move { disk, base, overlay, rules: *rules })
            .collect();
        move_all(&wanted)
    })
    .map_err(errors::block)?;
    for (disk, overlay) in &moves {
        disk.get().chain_now().insert(0, overlay.clone());
        *disk.get().format.lock().unwrap_or_else(PoisonError::into_inner) = Format::Qcow2.name();
        py.detach(|| disk.get().let_others_read_below())?;
    }
    Ok(())
}

/// Makes or forgets a snapshot within the images of disks in use: in all of them, or in none.
#[pyfunction]
#[pyo3(signature = (disks, action, name, /))]
pub fn snapshot_disks(py: Python<'_>, disks: Vec<Py<Disk>>, action: &str, name: &str) -> PyResult<()> {
    let action = match action {
        "create" => Action::Create,
        "delete" => Action::Delete,
        other => return Err(PyValueError::new_err(format!("action {other:?} is none of create, delete"))),
    };
    let opened: Vec<_> = disks
        .iter()
        .map(|disk| Ok((disk.get().open()?.switch, disk.get().rules)))
        .collect::<PyResult<_>>()?;
    let wanted: Vec<(&Switch, Rules)> = opened.iter().map(|(disk, rules)| (&**disk, *rules)).collect();
    py.detach(|| snapshot_all(&wanted, action, name)).map_err(errors::block)
}
