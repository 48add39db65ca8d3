//! The VGA, as Python plugs it in.

use std::sync::Arc;
use std::time::Instant;

use innkeeper_devices::vga::{Clock, Part, Region as ChipRegion, Vga as CoreVga};
use pyo3::prelude::*;

use crate::memory::Ram;
use crate::native::{Region, Screen};
use crate::value;

#[pyclass(frozen, module = "innkeeper._core")]
pub struct Vga {
    chip: Arc<CoreVga>,
}

impl Vga {
    fn region(&self, part: Part) -> Region {
        Region { device: Arc::new(ChipRegion { chip: Arc::clone(&self.chip), part }) }
    }
}

#[pymethods]
impl Vga {
    #[new]
    #[pyo3(signature = (memory, /, *, still = false))]
    fn new(memory: &Bound<'_, Ram>, still: bool) -> Self {
        let start = Instant::now();
        let clock: Clock =
            if still { Box::new(|| 0) } else { Box::new(move || start.elapsed().as_nanos() as u64) };
        Self { chip: CoreVga::new(Arc::clone(&memory.get().ram), clock) }
    }

    fn reset(&self, py: Python<'_>) {
        py.detach(|| self.chip.reset());
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &py.detach(|| self.chip.state()))
    }

    #[pyo3(signature = (state, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = value::from_python(state)?;
        py.detach(|| self.chip.restore(&state)).map_err(value::bad_state)
    }

    #[getter]
    fn ports(&self) -> Region {
        self.region(Part::Ports)
    }

    #[getter]
    fn dispi_ports(&self) -> Region {
        self.region(Part::DispiPorts)
    }

    #[getter]
    fn window(&self) -> Region {
        self.region(Part::Window)
    }

    #[getter]
    fn registers(&self) -> Region {
        self.region(Part::Registers)
    }

    #[getter]
    fn screen(&self) -> Screen {
        Screen { screen: Arc::clone(&self.chip) as Arc<dyn innkeeper_display::Screen> }
    }
}
