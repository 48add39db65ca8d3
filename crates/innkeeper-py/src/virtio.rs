//! Virtio devices and their PCI functions.

use std::sync::Arc;

use innkeeper_devices::virtio::blk::{Blk, Options};
use innkeeper_devices::virtio::class::Class;
use innkeeper_devices::virtio::rng::Rng;
use innkeeper_devices::virtio::transport::{NOTIFY_MULTIPLIER, PLACES, VirtioPci as Function, Window};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::disk::Disk;
use crate::memory::Memory;
use crate::native::{Fabric, Line, Region};

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
            "writeback" => (true, false),
            "writethrough" => (false, false),
            "unsafe" => (true, true),
            other => return Err(PyValueError::new_err(format!("cache is {other:?}"))),
        };
        let serial = serial.to_owned();
        let options = Options { serial, read_only, queues, writeback, unsafe_cache, discard };
        Ok(Self { class: Arc::new(Blk::new(disk.get().disk()?, options)) })
    }

    #[getter]
    fn kind(&self) -> u16 {
        self.class.kind()
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
}
