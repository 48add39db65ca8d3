//! Work on disks in use, as `innkeeper.machine` starts, watches and ends it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use innkeeper_block::filter::Filter;
use innkeeper_block::jobs::{Work, layers};
use innkeeper_block::{Disk as BlockDisk, Error, Format, Job, Mirror, Options, Qcow2, open_image, reopen};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::disk::{Disk, Open};
use crate::errors;

/// What follows once all is copied.
enum End {
    /// The image at `depth` comes to lie over what was at `below`; `name` is what it calls that.
    Link { depth: usize, below: Option<usize>, name: Option<String> },
    /// Somebody says whether the disk moves to the other image, which has these below it and is of this format. The mirror is `None` once
    /// that was said: it has both images open.
    Choose { mirror: Mutex<Option<Arc<Mirror>>>, chain: Vec<PathBuf>, format: Format },
}

#[pyclass(frozen, module = "innkeeper._core")]
pub struct BlockJob {
    disk: Py<Disk>,
    open: Open,
    /// `None` once it has run.
    job: Mutex<Option<Job>>,
    end: End,
}

fn refused(text: impl Into<String>) -> PyErr {
    PyValueError::new_err(text.into())
}

impl BlockJob {
    fn new(disk: Py<Disk>, open: Open, job: Job, end: End) -> Self {
        Self { disk, open, job: Mutex::new(Some(job)), end }
    }

    fn mirror(&self) -> Option<MutexGuard<'_, Option<Arc<Mirror>>>> {
        match &self.end {
            End::Choose { mirror, .. } => Some(mirror.lock().unwrap_or_else(PoisonError::into_inner)),
            End::Link { .. } => None,
        }
    }

    fn link(&self, depth: usize, below: Option<usize>, name: Option<&str>) -> Result<(), Error> {
        self.open.switch.quietly(|now| {
            let all = layers(now);
            let image = all.get(depth).and_then(|layer| layer.as_qcow2());
            let image = image.ok_or_else(|| Error::Refused("the disk has another chain by now".into()))?;
            let below = below.and_then(|below| all.get(below)).cloned();
            let format = below.as_ref().map(|disk| format_of(&**disk));
            image.record_backing(name.zip(format))?;
            image.set_backing(below);
            Ok(())
        })
    }
}

fn format_of(disk: &dyn BlockDisk) -> Format {
    if disk.as_qcow2().is_some() { Format::Qcow2 } else { Format::Raw }
}

/// What lies at `depth`, so that it can be written.
fn writable(open: &Open, disk: &Disk, depth: usize) -> Result<Arc<dyn BlockDisk>, Error> {
    let path = disk.chain_now().get(depth).cloned().unwrap_or_default();
    open.switch.quietly(|now| {
        if depth == 0 {
            return Ok(Arc::clone(now));
        }
        let all = layers(now);
        let overlay = Arc::clone(&all[depth - 1]);
        drop(all); // who reads it must be known to be alone
        let overlay =
            overlay.as_qcow2().ok_or_else(|| Error::Refused("the disk has another chain by now".into()))?;
        reopen::for_writing(overlay, &path, disk.rules)
    })
}

fn checked(open: &Open, depths: &[usize]) -> PyResult<Vec<Arc<dyn BlockDisk>>> {
    let all = layers(&open.switch.current());
    if depths.iter().any(|depth| *depth >= all.len()) {
        return Err(refused(format!("the disk has {} images in its chain", all.len())));
    }
    Ok(all)
}

#[pymethods]
impl BlockJob {
    #[staticmethod]
    #[pyo3(signature = (disk, base, name, /))]
    fn pull(disk: Py<Disk>, base: Option<usize>, name: Option<String>) -> PyResult<Self> {
        let open = disk.get().open()?;
        let all = checked(&open, &[base.unwrap_or(0)])?;
        let top = Arc::clone(&all[0]);
        if !top.as_qcow2().is_some_and(Qcow2::can_populate) {
            return Err(refused(
                "the image in use is no overlay that others' parts can be taken over into: it is raw, has snapshots within it, or subclusters",
            ));
        }
        let parts = all[1..base.unwrap_or(all.len())].to_vec();
        let job = Job { layers: parts, disk: top, work: Work::Pull { hides: base.is_some() } };
        Ok(Self::new(disk, open, job, End::Link { depth: 0, below: base, name }))
    }

    #[staticmethod]
    #[pyo3(signature = (disk, top, base, name, /))]
    fn commit(py: Python<'_>, disk: Py<Disk>, top: usize, base: usize, name: String) -> PyResult<Self> {
        let open = disk.get().open()?;
        let size = checked(&open, &[top, base])?[top].size();
        if top >= base {
            return Err(refused("what is committed must lie over what it is committed to"));
        }
        if top > 0 {
            py.detach(|| writable(&open, disk.get(), top - 1)).map_err(errors::block)?;
        }
        let target = py.detach(|| writable(&open, disk.get(), base)).map_err(errors::block)?;
        if target.size() < size {
            py.detach(|| target.grow(size))?;
        }
        let all = layers(&open.switch.current());
        let (parts, from) = (all[top..base].to_vec(), Arc::clone(&all[top]));
        drop(all);
        if top > 0 {
            let work = Work::Commit { target, mirror: None };
            let end = End::Link { depth: top - 1, below: Some(base), name: Some(name) };
            return Ok(Self::new(disk, open, Job { layers: parts, disk: from, work }, end));
        }
        let (chain, format) = (disk.get().chain_now()[base..].to_vec(), format_of(&*target));
        let mirror = open.switch.mirror(Filter::around(Arc::clone(&target), disk.get().rules));
        let work = Work::Commit { target, mirror: Some(Arc::clone(&mirror)) };
        Ok(Self::new(
            disk,
            open,
            Job { layers: parts, disk: from, work },
            End::Choose { mirror: Mutex::new(Some(mirror)), chain, format },
        ))
    }

    #[staticmethod]
    #[pyo3(signature = (disk, path, /, *, format, shallow, blank))]
    fn copy(
        py: Python<'_>,
        disk: Py<Disk>,
        path: PathBuf,
        format: &str,
        shallow: bool,
        blank: bool,
    ) -> PyResult<Self> {
        let open = disk.get().open()?;
        let all = checked(&open, &[])?;
        let format = Format::named(format).map_err(errors::block)?;
        // What lies below is open already, and nobody opens it twice.
        let options = Options {
            format: Some(format),
            without_backing: shallow,
            rules: disk.get().rules,
            ..Options::default()
        };
        let image = py.detach(|| open_image(&path, &options)).map_err(errors::block)?;
        let size = image.disk.size();
        if size < all[0].size() {
            return Err(refused(format!(
                "{} has {size} bytes, and the disk {}",
                path.display(),
                all[0].size()
            )));
        }
        let (mut chain, mut parts) = (image.chain, Vec::new());
        if shallow {
            let below = image.qcow2.as_deref().zip(all.get(1));
            let (copy, below) =
                below.ok_or_else(|| refused("nothing lies below the disk, so its copy cannot be shallow"))?;
            copy.set_backing(Some(Arc::clone(below)));
            chain.extend(disk.get().chain_now()[1..].iter().cloned());
            parts.push(Arc::clone(&all[0]));
        }
        let from = Arc::clone(&all[0]);
        let mirror = open.switch.mirror(image.disk);
        let work = Work::Copy { mirror: Arc::clone(&mirror), blank };
        Ok(Self::new(
            disk,
            open,
            Job { layers: parts, disk: from, work },
            End::Choose { mirror: Mutex::new(Some(mirror)), chain, format },
        ))
    }

    /// Where the disk may move to.
    #[getter]
    fn destination(&self) -> Option<(PathBuf, &'static str)> {
        match &self.end {
            End::Choose { chain, format, .. } => {
                Some((chain.first().cloned().unwrap_or_default(), format.name()))
            }
            End::Link { .. } => None,
        }
    }

    #[pyo3(signature = (watch, /))]
    fn run(&self, py: Python<'_>, watch: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(job) = self.job.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(refused("the job has run"));
        };
        let watch = watch.clone().unbind();
        py.detach(|| job.run(|at, size| Python::attach(|py| watch.call1(py, (at, size)).map(drop))))?;
        py.detach(|| drop(job));
        let End::Link { depth, below, name } = &self.end else { return Ok(()) };
        py.detach(|| self.link(*depth, *below, name.as_deref())).map_err(errors::block)?;
        let mut chain = self.disk.get().chain_now();
        let end = below.unwrap_or(chain.len());
        chain.drain(depth + 1..end);
        drop(chain);
        py.detach(|| self.disk.get().let_others_read_below())
    }

    #[pyo3(signature = (strict, /))]
    fn be_strict(&self, py: Python<'_>, strict: bool) -> PyResult<()> {
        let mirror = self.mirror().and_then(|mirror| mirror.clone());
        let mirror = mirror.ok_or_else(|| refused("the job mirrors nothing"))?;
        Ok(py.detach(|| self.open.switch.be_strict(&mirror, strict))?)
    }

    #[pyo3(signature = (*, pivot))]
    fn leave(&self, py: Python<'_>, pivot: bool) -> PyResult<()> {
        let End::Choose { chain, format, .. } = &self.end else { return Ok(()) };
        drop(self.job.lock().unwrap_or_else(PoisonError::into_inner).take());
        let left = py.detach(|| {
            let Some(mut held) = self.mirror() else { return Ok(false) };
            let Some(mirror) = &*held else { return Ok(false) };
            self.open.switch.leave(mirror, pivot)?;
            *held = None;
            Ok::<_, std::io::Error>(true)
        })?;
        if left && pivot {
            self.disk.get().is_now(chain.clone(), *format);
        }
        py.detach(|| self.disk.get().let_others_read_below())
    }
}
