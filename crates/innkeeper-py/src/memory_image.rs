//! Guest memory written to a file and read from one.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};

use innkeeper_core::memory::Image;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

const BUFFER: usize = 1 << 20;
/// Bytes from one call of a watcher to the next.
const STEP: u64 = 16 << 20;

/// An open file of Python's, which stays open.
fn borrowed(descriptor: RawFd) -> PyResult<ManuallyDrop<File>> {
    if descriptor < 0 {
        return Err(PyValueError::new_err("the file is closed"));
    }
    // SAFETY: it is only written to or read from, never closed; if it is not open, the host says so.
    Ok(ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) }))
}

/// Calls a watcher of Python's every so often; what it raises is kept.
struct Watcher<'a> {
    call: Option<&'a Py<PyAny>>,
    next: u64,
    raised: Option<PyErr>,
}

impl<'a> Watcher<'a> {
    fn new(call: Option<&'a Py<PyAny>>) -> Self {
        Self { call, next: STEP, raised: None }
    }

    fn look(&mut self, done: u64) -> io::Result<()> {
        let Some(call) = self.call.filter(|_| done >= self.next) else { return Ok(()) };
        self.next = done + STEP;
        match Python::attach(|py| call.call1(py, (done,)).map(drop)) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.raised = Some(error);
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    }

    fn result(self, result: io::Result<()>) -> PyResult<()> {
        match (self.raised, result) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => Err(match error.kind() {
                io::ErrorKind::InvalidData => PyValueError::new_err(error.to_string()),
                io::ErrorKind::UnexpectedEof => PyValueError::new_err("it ends too early"),
                _ => PyOSError::new_err(error),
            }),
        }
    }
}

/// From where the file stands. Without the interpreter, but for the watcher.
pub fn write(
    py: Python<'_>,
    image: &Image<'_>,
    descriptor: RawFd,
    watch: Option<&Py<PyAny>>,
) -> PyResult<()> {
    let file = borrowed(descriptor)?;
    let mut watcher = Watcher::new(watch);
    let result = py.detach(|| {
        let mut out = BufWriter::with_capacity(BUFFER, &*file);
        image.write_to(&mut out, &mut |done| watcher.look(done))?;
        out.flush()
    });
    watcher.result(result)
}

/// The same backwards. The file then stands behind what was read.
pub fn read(py: Python<'_>, image: &Image<'_>, descriptor: RawFd, watch: Option<&Py<PyAny>>) -> PyResult<()> {
    let file = borrowed(descriptor)?;
    let mut watcher = Watcher::new(watch);
    let result = py.detach(|| {
        let mut from = BufReader::with_capacity(BUFFER, &*file);
        image.read_from(&mut from, &mut |done| watcher.look(done))?;
        let ahead = from.buffer().len() as i64;
        io::Seek::seek(&mut &*file, io::SeekFrom::Current(-ahead)).map(drop)
    });
    watcher.result(result)
}
