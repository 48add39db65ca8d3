//! The image tools, for `innkeeper.storage`: paths and dictionaries in, dictionaries out, the interpreter left alone
//! meanwhile.

use std::path::{Path, PathBuf};
use std::thread;

use innkeeper_block::qcow2::header::{CORRUPT, DIRTY, LAZY_REFCOUNTS};
use innkeeper_block::qcow2::{Compression, Snapshot};
use innkeeper_block::tools::layer::Access;
use innkeeper_block::tools::{
    Chain, Layout, NewImage, Preallocation, Progress, Result, ToolError, compare, convert, create, info,
    layer, map, watched,
};
use innkeeper_block::{Error, Format};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// A sentence as `ValueError`, or `OSError` with its number where the host refused.
pub fn raised(error: ToolError) -> PyErr {
    match error {
        ToolError::Image(error) => match &error {
            Error::Host { what, source } => match source.raw_os_error() {
                Some(number) => {
                    let text = source.to_string();
                    let reason =
                        text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text).to_lowercase();
                    PyOSError::new_err((number, format!("cannot {what}: {reason}")))
                }
                None => PyOSError::new_err((libc_eio(), error.to_string())),
            },
            _ => PyValueError::new_err(error.to_string()),
        },
        // Whoever cancelled has an exception of their own; this is for a watcher that only said no.
        ToolError::Cancelled => PyValueError::new_err("cancelled"),
    }
}

const fn libc_eio() -> i32 {
    5
}

/// Does the work without the interpreter; the watcher is called with it, and Ctrl-C is looked for.
pub fn run<T: Send>(
    py: Python<'_>,
    watcher: Option<Py<PyAny>>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> PyResult<T> {
    let mut raised_meanwhile: Option<PyErr> = None;
    let result = py.detach(|| {
        watched(
            &mut |done, total| {
                let told = Python::attach(|py| {
                    py.check_signals()?;
                    match &watcher {
                        Some(watcher) if total > 0 => watcher.call1(py, (done, total)).map(drop),
                        _ => Ok(()),
                    }
                });
                // The first exception is the one that counts.
                told.map_err(|error| raised_meanwhile.get_or_insert(error)).is_ok()
            },
            work,
        )
    });
    match raised_meanwhile {
        Some(error) => Err(error),
        None => result.map_err(raised),
    }
}

/// `-U`: although somebody may be writing.
pub fn access(share: bool) -> Access {
    if share { Access::Look } else { Access::Read }
}

pub fn format_of(name: Option<&str>) -> PyResult<Option<Format>> {
    name.map(Format::named).transpose().map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The fields of `innkeeper.storage.ImageOptions`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    preallocation: String,
    compat: String,
    cluster_size: u64,
    refcount_bits: u32,
    lazy_refcounts: bool,
    compression_type: String,
    extended_l2: bool,
    backing_file: Option<String>,
    backing_fmt: Option<String>,
}

pub fn preallocation(name: &str) -> PyResult<Preallocation> {
    match name {
        "off" => Ok(Preallocation::Off),
        "metadata" => Ok(Preallocation::Metadata),
        "falloc" => Ok(Preallocation::Falloc),
        "full" => Ok(Preallocation::Full),
        other => Err(PyValueError::new_err(format!("preallocation {other:?} is unknown"))),
    }
}

impl Options {
    fn new_image(self, format: &str, size: Option<u64>, open_backing: bool) -> PyResult<NewImage> {
        if !self.cluster_size.is_power_of_two() || !self.refcount_bits.is_power_of_two() {
            return Err(PyValueError::new_err("cluster_size and refcount_bits are powers of two"));
        }
        let layout = Layout {
            version: if self.compat == "0.10" { 2 } else { 3 },
            cluster_bits: self.cluster_size.ilog2(),
            refcount_order: self.refcount_bits.ilog2(),
            lazy_refcounts: self.lazy_refcounts,
            extended_l2: self.extended_l2,
            compression: if self.compression_type == "zstd" { Compression::Zstd } else { Compression::Zlib },
            backing_file: self.backing_file,
            backing_format: self.backing_fmt,
        };
        let format = Format::named(format).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(NewImage {
            format,
            size,
            layout,
            preallocation: preallocation(&self.preallocation)?,
            open_backing,
        })
    }
}

#[pyfunction]
#[pyo3(signature = (path, /))]
pub fn image_probe(py: Python<'_>, path: PathBuf) -> PyResult<&'static str> {
    run(py, None, |_| Ok(layer::Layer::open(&path, None, Access::Look)?.format().name()))
}

#[pyfunction]
#[pyo3(signature = (path, format, size, options, open_backing, progress, /))]
pub fn image_create(
    py: Python<'_>,
    path: PathBuf,
    format: &str,
    size: Option<u64>,
    options: Options,
    open_backing: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<u64> {
    let new = options.new_image(format, size, open_backing)?;
    run(py, progress, |progress| create::create(&path, &new, progress))
}

/// How `image_convert` copies.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Copying {
    source_format: Option<String>,
    format: String,
    compress: bool,
    sparse_size: u64,
    snapshot: Option<String>,
    threads: Option<usize>,
    share: bool,
}

/// More than processors: while some wait for the disk, others look for zeroes and compress. But those that write to one
/// file wait for each other in the host's kernel, so where that is most of the work they are few.
fn default_threads(compress: bool) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if compress { processors.clamp(8, 16) } else { processors.clamp(2, 4) }
}

#[pyfunction]
#[pyo3(signature = (source, target, request, options, progress, /))]
pub fn image_convert(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    request: Copying,
    options: Options,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let format = format_of(request.source_format.as_deref())?;
    let copying = convert::Request {
        new: options.new_image(&request.format, None, true)?,
        compress: request.compress,
        sparse: request.sparse_size,
        threads: request.threads.unwrap_or_else(|| default_threads(request.compress)),
    };
    run(py, progress, |progress| {
        let mut chain = Chain::alone(&source, format, access(request.share))?;
        chain.complete(access(request.share))?;
        if let Some(snapshot) = &request.snapshot {
            chain.layers[0].show_snapshot(snapshot)?;
        }
        convert::convert(&chain, &target, &copying, progress)
    })
}

#[pyfunction]
#[pyo3(signature = (path, format, share, /))]
pub fn image_info<'py>(
    py: Python<'py>,
    path: PathBuf,
    format: Option<&str>,
    share: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let format = format_of(format)?;
    let found = run(py, None, |_| info::info(Chain::alone(&path, format, access(share))?.top()))?;
    info_dict(py, &found)
}

#[pyfunction]
#[pyo3(signature = (path, format, share, /))]
pub fn image_chain<'py>(
    py: Python<'py>,
    path: PathBuf,
    format: Option<&str>,
    share: bool,
) -> PyResult<Bound<'py, PyList>> {
    let format = format_of(format)?;
    let found = run(py, None, |_| info::chain(&Chain::open(&path, format, access(share))?))?;
    let list = PyList::empty(py);
    for image in &found {
        list.append(info_dict(py, image)?)?;
    }
    Ok(list)
}

/// `ImageInfo` of `_core.pyi`: the names are qemu-img's.
fn info_dict<'py>(py: Python<'py>, of: &info::ImageInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("virtual-size", of.size)?;
    dict.set_item("filename", &of.path)?;
    dict.set_item("format", of.format)?;
    dict.set_item("actual-size", of.taken)?;
    let Some((header, snapshots)) = &of.qcow2 else {
        dict.set_item("dirty-flag", false)?;
        return Ok(dict);
    };
    dict.set_item("cluster-size", 1u64 << header.cluster_bits)?;
    if !snapshots.is_empty() {
        dict.set_item("snapshots", snapshot_list(py, snapshots)?)?;
    }
    let data = PyDict::new(py);
    if header.version == 2 {
        data.set_item("compat", "0.10")?;
        data.set_item("compression-type", "zlib")?;
        data.set_item("refcount-bits", 16)?;
    } else {
        data.set_item("compat", "1.1")?;
        data.set_item(
            "compression-type",
            if header.compression == Compression::Zstd { "zstd" } else { "zlib" },
        )?;
        data.set_item("lazy-refcounts", header.compatible & LAZY_REFCOUNTS != 0)?;
        data.set_item("refcount-bits", 1u32 << header.refcount_order)?;
        data.set_item("corrupt", header.incompatible & CORRUPT != 0)?;
        data.set_item("extended-l2", header.geometry().extended_l2)?;
    }
    let specific = PyDict::new(py);
    specific.set_item("type", "qcow2")?;
    specific.set_item("data", data)?;
    dict.set_item("format-specific", specific)?;
    if let (Some(name), Some(path)) = (&header.backing_file, &of.backing) {
        dict.set_item("backing-filename", name)?;
        dict.set_item("full-backing-filename", path)?;
        if let Some(format) = &header.backing_format {
            dict.set_item("backing-filename-format", format)?;
        }
    }
    dict.set_item("dirty-flag", header.incompatible & DIRTY != 0)?;
    Ok(dict)
}

/// `ImageSnapshot` of `_core.pyi`.
pub fn snapshot_list<'py>(py: Python<'py>, snapshots: &[Snapshot]) -> PyResult<Bound<'py, PyList>> {
    const SECOND: u64 = 1_000_000_000;
    let list = PyList::empty(py);
    for snapshot in snapshots {
        let dict = PyDict::new(py);
        dict.set_item("id", &snapshot.id)?;
        dict.set_item("name", &snapshot.name)?;
        dict.set_item("vm-state-size", snapshot.vm_state_size)?;
        dict.set_item("date-sec", snapshot.seconds)?;
        dict.set_item("date-nsec", snapshot.nanoseconds)?;
        dict.set_item("vm-clock-sec", snapshot.vm_clock / SECOND)?;
        dict.set_item("vm-clock-nsec", snapshot.vm_clock % SECOND)?;
        if let Some(count) = snapshot.icount {
            dict.set_item("icount", count)?;
        }
        list.append(dict)?;
    }
    Ok(list)
}

#[pyfunction]
#[pyo3(signature = (path, format, start, length, share, /))]
pub fn image_map<'py>(
    py: Python<'py>,
    path: PathBuf,
    format: Option<&str>,
    start: u64,
    length: Option<u64>,
    share: bool,
) -> PyResult<Bound<'py, PyList>> {
    let format = format_of(format)?;
    let (rows, names) = run(py, None, |_| {
        let chain = Chain::open(&path, format, access(share))?;
        let names: Vec<String> = chain.layers.iter().map(|layer| layer.path.display().to_string()).collect();
        Ok((map::map(&chain, start, length.unwrap_or(u64::MAX))?, names))
    })?;
    let list = PyList::empty(py);
    for row in rows {
        let dict = PyDict::new(py);
        dict.set_item("start", row.start)?;
        dict.set_item("length", row.length)?;
        dict.set_item("depth", row.depth)?;
        dict.set_item("present", row.present)?;
        dict.set_item("zero", row.zero)?;
        dict.set_item("data", row.data)?;
        dict.set_item("compressed", row.compressed)?;
        if let Some(offset) = row.offset {
            dict.set_item("offset", offset)?;
            dict.set_item("filename", &names[row.depth])?;
        }
        list.append(dict)?;
    }
    Ok(list)
}

#[pyfunction]
#[pyo3(signature = (first, second, first_format, second_format, strict, share, progress, /))]
#[expect(clippy::too_many_arguments, reason = "two of each")]
pub fn image_compare(
    py: Python<'_>,
    first: PathBuf,
    second: PathBuf,
    first_format: Option<&str>,
    second_format: Option<&str>,
    strict: bool,
    share: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Option<String>> {
    let formats = (format_of(first_format)?, format_of(second_format)?);
    let open = |path: &Path, format| Chain::open(path, format, access(share));
    let found = run(py, progress, |progress| {
        compare::compare(&open(&first, formats.0)?, &open(&second, formats.1)?, strict, progress)
    })?;
    Ok(found.map(|difference| match difference {
        compare::Difference::Size(one, other) => format!("the disks have {one} and {other} bytes"),
        compare::Difference::Allocation(offset) => {
            format!("one image has no space for offset {offset}, the other has")
        }
        compare::Difference::Content(offset) => format!("the contents differ at offset {offset}"),
    }))
}
