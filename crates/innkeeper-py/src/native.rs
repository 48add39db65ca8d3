//! Devices, lines and screens that live in Rust, as Python hands them around.

use std::sync::Arc;

use innkeeper_bus::interrupt::{GsiLine, InterruptFabric, Line as CoreLine};
use innkeeper_core::bus::{Device, ones};
use innkeeper_devices::pci::{IntxPin, PciInterrupts};
use innkeeper_display::{Frame as CoreFrame, Screen as CoreScreen};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A region of a device: what `map_ports` and `map_mmio` take beside Python's own devices, and then call
/// without the interpreter.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Region {
    pub device: Arc<dyn Device>,
}

#[pymethods]
impl Region {
    #[pyo3(signature = (offset, size, /))]
    fn read(&self, py: Python<'_>, offset: u64, size: u8) -> u64 {
        py.detach(|| self.device.read(offset, size)) & ones(size)
    }

    #[pyo3(signature = (offset, size, value, /))]
    fn write(&self, py: Python<'_>, offset: u64, size: u8, value: u64) {
        py.detach(|| self.device.write(offset, size, value & ones(size)));
    }
}

/// Whatever delivers a machine's interrupts: its VM, or two callables of a test.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Fabric {
    pub fabric: Arc<dyn InterruptFabric>,
}

struct Callables {
    set_irq: Py<PyAny>,
    signal_msi: Py<PyAny>,
}

impl InterruptFabric for Callables {
    fn set_irq(&self, gsi: u32, level: bool) {
        Python::attach(|py| {
            self.set_irq.call1(py, (gsi, level)).map(drop).unwrap_or_else(|error| error.print(py))
        });
    }

    fn signal_msi(&self, address: u64, data: u32) {
        Python::attach(|py| {
            self.signal_msi.call1(py, (address, data)).map(drop).unwrap_or_else(|error| error.print(py));
        });
    }
}

#[pymethods]
impl Fabric {
    #[new]
    #[pyo3(signature = (set_irq, signal_msi, /))]
    fn new(set_irq: Py<PyAny>, signal_msi: Py<PyAny>) -> Self {
        Self { fabric: Arc::new(Callables { set_irq, signal_msi }) }
    }

    #[pyo3(signature = (gsi, /))]
    fn line(&self, gsi: u32) -> Line {
        Line { line: Arc::new(GsiLine { fabric: Arc::clone(&self.fabric), gsi }) }
    }
}

/// One end of an interrupt line.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Line {
    pub line: Arc<dyn CoreLine>,
}

#[pymethods]
impl Line {
    #[pyo3(signature = (level, /))]
    fn set(&self, py: Python<'_>, level: bool) {
        py.detach(|| self.line.set(level));
    }

    fn pulse(&self, py: Python<'_>) {
        py.detach(|| {
            self.line.set(true);
            self.line.set(false);
        });
    }
}

/// The INTx wires of a board.
#[pyclass(frozen, module = "innkeeper._core", name = "PciInterrupts")]
pub struct Intx {
    board: Arc<PciInterrupts>,
}

#[pymethods]
impl Intx {
    #[new]
    #[pyo3(signature = (fabric, first_gsi, /))]
    fn new(fabric: &Bound<'_, Fabric>, first_gsi: u32) -> Self {
        Self { board: PciInterrupts::new(Arc::clone(&fabric.get().fabric), first_gsi) }
    }

    #[pyo3(signature = (slot, pin, /))]
    fn pin(&self, slot: u8, pin: u8) -> Line {
        let pin: IntxPin = self.board.pin(slot, pin);
        Line { line: Arc::new(pin) }
    }

    #[pyo3(signature = (pirq, irq, /))]
    fn route(&self, py: Python<'_>, pirq: usize, irq: Option<u8>) {
        py.detach(|| self.board.route(pirq, irq));
    }
}

/// What a display device shows.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Screen {
    pub screen: Arc<dyn CoreScreen>,
}

/// Characters and attributes of all cells, columns, rows, and the cursor's column and row.
type Text = (Vec<(u8, u8)>, u32, u32, Option<(u32, u32)>);
/// A number that changes with the shape, then width, height, hot spot and `0xAARRGGBB` as little-endian bytes.
type Cursor<'py> = (u64, u32, u32, u32, u32, Bound<'py, PyBytes>);

#[pymethods]
impl Screen {
    fn text(&self, py: Python<'_>) -> Option<Text> {
        let text = py.detach(|| self.screen.text())?;
        Some((text.cells, text.columns, text.rows, text.cursor))
    }

    fn cursor<'py>(&self, py: Python<'py>) -> Option<Cursor<'py>> {
        let (number, shape) = py.detach(|| self.screen.cursor())?;
        let bytes: Vec<u8> = shape.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        Some((number, shape.width, shape.height, shape.hot_x, shape.hot_y, PyBytes::new(py, &bytes)))
    }

    #[pyo3(signature = (width, height, /))]
    fn prefer(&self, py: Python<'_>, width: u32, height: u32) {
        py.detach(|| self.screen.prefer(width, height));
    }
}

/// One viewer's copy of a screen.
#[pyclass(module = "innkeeper._core")]
pub struct Frame {
    pub frame: CoreFrame,
}

#[pymethods]
impl Frame {
    #[new]
    fn new() -> Self {
        Self { frame: CoreFrame::default() }
    }

    #[getter]
    fn width(&self) -> u32 {
        self.frame.width
    }

    #[getter]
    fn height(&self) -> u32 {
        self.frame.height
    }

    #[pyo3(signature = (screen, /))]
    fn refresh(&mut self, py: Python<'_>, screen: &Bound<'_, Screen>) -> Vec<(u32, u32, u32, u32)> {
        let screen = Arc::clone(&screen.get().screen);
        let changed = py.detach(|| screen.refresh(&mut self.frame));
        changed.iter().map(|rect| (rect.x, rect.y, rect.width, rect.height)).collect()
    }

    fn pixels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pixels = &self.frame.pixels;
        PyBytes::new_with(py, 4 * pixels.len(), |out| {
            for (bytes, pixel) in out.chunks_exact_mut(4).zip(pixels) {
                bytes.copy_from_slice(&pixel.to_le_bytes());
            }
            Ok(())
        })
    }
}
