//! The image tools that change an image where it is, for `innkeeper.storage`.

use std::path::PathBuf;

use innkeeper_block::tools::{check, commit, rebase, resize, snapshot};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::image::{access, format_of, preallocation, run, snapshot_list};

#[pyfunction]
#[pyo3(signature = (path, format, repair, share, progress, /))]
pub fn image_check<'py>(
    py: Python<'py>,
    path: PathBuf,
    format: Option<&str>,
    repair: Option<&str>,
    share: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    format_of(format)?;
    let repair = match repair {
        None => None,
        Some("leaks") => Some(check::Repair::Leaks),
        Some("all") => Some(check::Repair::All),
        Some(other) => return Err(PyValueError::new_err(format!("repair {other:?} is none of leaks, all"))),
    };
    let found = run(py, progress, |progress| check::check(&path, repair, access(share), progress))?;
    let dict = PyDict::new(py);
    dict.set_item("image-end-offset", found.end)?;
    dict.set_item("total-clusters", found.total)?;
    dict.set_item("check-errors", 0)?;
    // As qemu-img does: what is not there is not mentioned.
    for (name, value) in [
        ("corruptions", found.corruptions),
        ("leaks", found.leaks),
        ("corruptions-fixed", found.corruptions_fixed),
        ("leaks-fixed", found.leaks_fixed),
        ("allocated-clusters", found.allocated),
        ("fragmented-clusters", found.fragmented),
        ("compressed-clusters", found.compressed),
    ] {
        if value > 0 {
            dict.set_item(name, value)?;
        }
    }
    dict.set_item("filename", path.display().to_string())?;
    dict.set_item("format", "qcow2")?;
    dict.set_item("findings", found.sentences)?;
    Ok(dict)
}

#[pyfunction]
#[pyo3(signature = (path, format, size, shrink, preallocation_mode, progress, /))]
pub fn image_resize(
    py: Python<'_>,
    path: PathBuf,
    format: Option<&str>,
    size: u64,
    shrink: bool,
    preallocation_mode: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let format = format_of(format)?;
    let wanted = resize::Resize { size, shrink, preallocation: preallocation(preallocation_mode)? };
    run(py, progress, |progress| resize::resize(&path, format, wanted, progress))
}

#[pyfunction]
#[pyo3(signature = (path, share, /))]
pub fn image_snapshots<'py>(py: Python<'py>, path: PathBuf, share: bool) -> PyResult<Bound<'py, PyList>> {
    let found = run(py, None, |_| snapshot::list(&path, access(share)))?;
    snapshot_list(py, &found)
}

#[pyfunction]
#[pyo3(signature = (path, action, name, /))]
pub fn image_snapshot(py: Python<'_>, path: PathBuf, action: &str, name: String) -> PyResult<()> {
    let action = match action {
        "create" => snapshot::Action::Create,
        "apply" => snapshot::Action::Apply,
        "delete" => snapshot::Action::Delete,
        other => {
            return Err(PyValueError::new_err(format!("action {other:?} is none of create, apply, delete")));
        }
    };
    run(py, None, |progress| snapshot::act(&path, action, &name, progress))
}

#[pyfunction]
#[pyo3(signature = (path, format, base, keep, progress, /))]
pub fn image_commit(
    py: Python<'_>,
    path: PathBuf,
    format: Option<&str>,
    base: Option<PathBuf>,
    keep: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let format = format_of(format)?;
    run(py, progress, |progress| commit::commit(&path, format, base.as_deref(), keep, progress))
}

#[pyfunction]
#[pyo3(signature = (path, format, backing, backing_format, unsafely, progress, /))]
pub fn image_rebase(
    py: Python<'_>,
    path: PathBuf,
    format: Option<&str>,
    backing: Option<&str>,
    backing_format: Option<&str>,
    unsafely: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    if format == Some("raw") {
        return Err(PyValueError::new_err(format!("{}: a raw image has no backing file", path.display())));
    }
    let backing = match (backing, format_of(backing_format)?) {
        (Some(name), Some(format)) => Some((name, format)),
        (Some(name), None) => {
            return Err(PyValueError::new_err(format!("the format of {name} is not given")));
        }
        (None, _) => None,
    };
    run(py, progress, |progress| rebase::rebase(&path, backing, unsafely, progress))
}
