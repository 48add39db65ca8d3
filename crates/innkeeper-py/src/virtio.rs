//! Virtio devices and their PCI functions.

use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_devices::virtio::balloon::Balloon;
use innkeeper_devices::virtio::blk::{Blk, Options};
use innkeeper_devices::virtio::channel::Channel;
use innkeeper_devices::virtio::class::Class;
use innkeeper_devices::virtio::console::{Console, Sink};
use innkeeper_devices::virtio::gpu::Gpu;
use innkeeper_devices::virtio::input::{Event, Input, Model, TABLET_RANGE};
use innkeeper_devices::virtio::p9::{Folder, P9};
use innkeeper_devices::virtio::rng::Rng;
use innkeeper_devices::virtio::transport::{NOTIFY_MULTIPLIER, PLACES, VirtioPci as Function, Window};
use innkeeper_devices::virtio::vsock::Vsock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::disk::Disk;
use crate::memory::Memory;
use crate::native::{Fabric, Line, Region, Screen};
use crate::value;

/// A device without its transport.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioDevice {
    pub class: Arc<dyn Class>,
}

#[pymethods]
impl VirtioDevice {
    #[staticmethod]
    fn rng() -> Self {
        Self { class: Arc::new(Rng::default()) }
    }

    #[staticmethod]
    #[pyo3(signature = (disk, /, *, serial="", read_only=false, queues=1, cache="writeback", discard=true))]
    fn blk(
        disk: &Bound<'_, Disk>,
        serial: &str,
        read_only: bool,
        queues: u16,
        cache: &str,
        discard: bool,
    ) -> PyResult<Self> {
        let (writeback, unsafe_cache) = match cache {
            "writeback" | "none" => (true, false),
            "writethrough" | "directsync" => (false, false),
            "unsafe" => (true, true),
            other => return Err(PyValueError::new_err(format!("cache is {other:?}"))),
        };
        let serial = serial.to_owned();
        let options = Options { serial, read_only, queues, writeback, unsafe_cache, discard };
        Ok(Self { class: Arc::new(Blk::new(disk.get().disk()?, options)) })
    }

    #[staticmethod]
    #[pyo3(signature = (source, tag, /, *, read_only=false))]
    fn filesystem(source: PathBuf, tag: &str, read_only: bool) -> PyResult<Self> {
        Ok(Self { class: Arc::new(P9::new(Folder::open(&source, read_only)?, tag)) })
    }

    #[staticmethod]
    #[pyo3(signature = (cid, path, listener, /))]
    fn vsock(cid: u32, path: PathBuf, listener: RawFd) -> PyResult<Self> {
        if listener < 0 {
            return Err(PyValueError::new_err("the listener is closed"));
        }
        // SAFETY: it is only looked at to be duplicated; if it is not open, the host says so.
        let listener = unsafe { BorrowedFd::borrow_raw(listener) }.try_clone_to_owned()?;
        Ok(Self { class: Arc::new(Vsock::new(cid, path, listener.into())?) })
    }

    #[getter]
    fn kind(&self) -> u16 {
        self.class.kind()
    }

    fn changed(&self, py: Python<'_>) {
        py.detach(|| self.class.changed());
    }
}

/// A balloon, with the host's side of it.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioBalloon {
    balloon: Arc<Balloon>,
}

#[pymethods]
impl VirtioBalloon {
    #[new]
    #[pyo3(signature = (*, deflate_on_oom=true))]
    fn new(deflate_on_oom: bool) -> Self {
        Self { balloon: Arc::new(Balloon::new(deflate_on_oom)) }
    }

    #[getter]
    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.balloon.clone() }
    }

    #[pyo3(signature = (bytes, /))]
    fn set_wanted(&self, py: Python<'_>, bytes: u64) {
        py.detach(|| self.balloon.set_wanted(bytes));
    }

    fn refresh(&self, py: Python<'_>) {
        py.detach(|| self.balloon.refresh());
    }

    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = py.detach(|| self.balloon.report());
        let all = PyDict::new(py);
        all.set_item("wanted_bytes", report.wanted_bytes)?;
        all.set_item("actual_bytes", report.actual_bytes)?;
        all.set_item("inflated_bytes", report.inflated_bytes)?;
        all.set_item("reported_bytes", report.reported_bytes)?;
        all.set_item("statistics", report.statistics)?;
        Ok(all)
    }
}

/// A keyboard or a tablet.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioInput {
    input: Arc<Input>,
}

#[pymethods]
impl VirtioInput {
    /// A tablet's coordinates go from 0 to here.
    #[classattr]
    const TABLET_RANGE: u32 = TABLET_RANGE;

    #[new]
    #[pyo3(signature = (model, /))]
    fn new(model: &str) -> PyResult<Self> {
        let model = match model {
            "keyboard" => Model::Keyboard,
            "tablet" => Model::Tablet,
            other => return Err(PyValueError::new_err(format!("no input device is called {other:?}"))),
        };
        Ok(Self { input: Arc::new(Input::new(model)) })
    }

    #[getter]
    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.input.clone() }
    }

    #[getter]
    fn listening(&self, py: Python<'_>) -> bool {
        py.detach(|| self.input.is_listening())
    }

    #[pyo3(signature = (events, /))]
    fn send(&self, py: Python<'_>, events: Vec<(u16, u16, i32)>) {
        let events: Vec<_> =
            events.into_iter().map(|(kind, code, value)| Event { kind, code, value }).collect();
        py.detach(|| self.input.send(&events));
    }
}

/// A graphics device, and what it shows.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioGpu {
    gpu: Arc<Gpu>,
}

#[pymethods]
impl VirtioGpu {
    #[new]
    fn new() -> Self {
        Self { gpu: Arc::new(Gpu::default()) }
    }

    #[getter]
    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.gpu.clone() }
    }

    #[getter]
    fn screen(&self) -> Screen {
        Screen { screen: self.gpu.clone() }
    }
}

/// A console; its sink is called from a thread of its own.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioConsole {
    console: Arc<Console>,
}

#[pymethods]
impl VirtioConsole {
    #[new]
    #[pyo3(signature = (sink, /))]
    fn new(sink: Py<PyAny>) -> PyResult<Self> {
        Ok(Self { console: Arc::new(Console::new(sink_of(sink))?) })
    }

    #[getter]
    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.console.clone() }
    }

    #[pyo3(signature = (data, /))]
    fn receive(&self, py: Python<'_>, data: &[u8]) -> usize {
        py.detach(|| self.console.receive(data))
    }

    #[pyo3(signature = (columns, rows, /))]
    fn set_size(&self, py: Python<'_>, columns: u16, rows: u16) {
        py.detach(|| self.console.set_size(columns, rows));
    }

    #[pyo3(signature = (patience_s, /))]
    fn close(&self, py: Python<'_>, patience_s: f64) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(patience_s);
        let patience = patience.map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.console.close(patience));
        Ok(())
    }
}

fn sink_of(sink: Py<PyAny>) -> Sink {
    Box::new(move |bytes: &[u8]| {
        // No interpreter any more, at the end of the process: nobody is left to read it.
        Python::try_attach(|py| {
            if let Err(error) = sink.call1(py, (PyBytes::new(py, bytes),)) {
                error.write_unraisable(py, Some(sink.bind(py)));
            }
        });
    })
}

/// A channel; its sink is called from a thread of its own.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioChannel {
    channel: Arc<Channel>,
}

#[pymethods]
impl VirtioChannel {
    #[new]
    #[pyo3(signature = (name, sink, /))]
    fn new(name: &str, sink: Py<PyAny>) -> PyResult<Self> {
        Ok(Self { channel: Arc::new(Channel::new(name, sink_of(sink))?) })
    }

    #[getter]
    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.channel.clone() }
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.channel.is_open()
    }

    #[pyo3(signature = (data, /))]
    fn send(&self, py: Python<'_>, data: &[u8]) -> usize {
        py.detach(|| self.channel.send(data))
    }

    #[pyo3(signature = (patience_s, /))]
    fn close(&self, py: Python<'_>, patience_s: f64) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(patience_s);
        let patience = patience.map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.channel.close(patience));
        Ok(())
    }
}

/// One function on PCI, from one power-on to the next.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct VirtioPci {
    function: Arc<Function>,
}

#[pymethods]
impl VirtioPci {
    /// Where the parts of the modern region are: common configuration, ISR status, device configuration, doorbells.
    #[classattr]
    const PLACES: [u64; 4] = PLACES;
    #[classattr]
    const NOTIFY_MULTIPLIER: u64 = NOTIFY_MULTIPLIER;

    #[new]
    #[pyo3(signature = (device, memory, fabric, line, /))]
    fn new(
        py: Python<'_>,
        device: &Bound<'_, VirtioDevice>,
        memory: &Bound<'_, Memory>,
        fabric: &Bound<'_, Fabric>,
        line: &Bound<'_, Line>,
    ) -> Self {
        let class = Arc::clone(&device.get().class);
        let memory = Arc::clone(&memory.get().memory);
        let (fabric, line) = (Arc::clone(&fabric.get().fabric), Arc::clone(&line.get().line));
        Self { function: py.detach(|| Function::new(class, memory, fabric, line)) }
    }

    #[pyo3(signature = (window, /))]
    fn region(&self, window: &str) -> PyResult<(Region, u64)> {
        let window = match window {
            "legacy" => Window::Legacy,
            "vectors" => Window::Vectors,
            "modern" => Window::Modern,
            other => return Err(PyValueError::new_err(format!("no region is called {other:?}"))),
        };
        Ok((Region { device: self.function.region(window) }, self.function.region_size(window)))
    }

    #[getter]
    fn vectors(&self) -> usize {
        self.function.vectors()
    }

    #[getter]
    fn pending_at(&self) -> u64 {
        self.function.pending_at()
    }

    #[pyo3(signature = (command, /))]
    fn set_command(&self, py: Python<'_>, command: u16) {
        py.detach(|| self.function.set_command(command));
    }

    #[pyo3(signature = (control, /))]
    fn set_msix_control(&self, py: Python<'_>, control: u16) {
        py.detach(|| self.function.set_msix_control(control));
    }

    fn shut_down(&self, py: Python<'_>) {
        py.detach(|| self.function.shut_down());
    }

    #[getter]
    fn can_be_saved(&self) -> bool {
        self.function.can_be_saved()
    }

    #[getter]
    fn obstacle(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.function.obstacle())
    }

    fn pause(&self, py: Python<'_>) {
        py.detach(|| self.function.pause());
    }

    fn go_on(&self, py: Python<'_>) {
        py.detach(|| self.function.go_on());
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &py.detach(|| self.function.state()))
    }

    #[pyo3(signature = (state, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = value::from_python(state)?;
        py.detach(|| self.function.restore(&state)).map_err(value::bad_state)
    }
}
