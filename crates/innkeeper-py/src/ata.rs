//! ATA and ATAPI drives, and the controllers that Python puts on a board.

use std::sync::{Arc, Mutex, PoisonError};

use innkeeper_block::Disk as BlockDisk;
use innkeeper_bus::bus::Device;
use innkeeper_devices::ata::ahci::{AhciController as CoreAhci, MOST_PORTS};
use innkeeper_devices::ata::cdrom::{Cdrom, iso};
use innkeeper_devices::ata::disk::{AtaDisk, Identity};
use innkeeper_devices::ata::ide::{CHANNELS, IdeController as CoreIde};
use innkeeper_devices::ata::{Drive, Locked, Tray};
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::disk::Disk;
use crate::memory::Memory;
use crate::native::{Fabric, Line, Region};
use crate::value;

/// A CD-ROM drive's tray. It outlives the boards that the drive is on.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct CdTray {
    tray: Arc<Tray>,
}

/// The disk in a wrapper, if there is one.
fn medium(disk: Option<&Bound<'_, Disk>>) -> PyResult<Option<Arc<dyn BlockDisk>>> {
    disk.map(|disk| disk.get().disk()).transpose()
}

#[pymethods]
impl CdTray {
    #[new]
    #[pyo3(signature = (disc = None, /))]
    fn new(disc: Option<&Bound<'_, Disk>>) -> PyResult<Self> {
        Ok(Self { tray: Tray::new(medium(disc)?) })
    }

    #[pyo3(signature = (disc, /, *, force = false))]
    fn change(&self, disc: Option<&Bound<'_, Disk>>, force: bool) -> PyResult<bool> {
        Ok(!matches!(self.tray.change(medium(disc)?, force), Err(Locked)))
    }

    #[getter]
    fn open(&self) -> bool {
        self.tray.look().open
    }

    #[getter]
    fn locked(&self) -> bool {
        self.tray.look().locked
    }

    #[getter]
    fn loaded(&self) -> bool {
        self.tray.look().present
    }
}

enum Contents {
    Disk(Arc<dyn BlockDisk>),
    Tray(Arc<Tray>),
}

/// A drive before it is behind a controller: each board's controller makes one of its own of it.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct AtaDrive {
    contents: Contents,
    serial: String,
    model: String,
    trim: bool,
}

#[pymethods]
impl AtaDrive {
    #[new]
    #[pyo3(signature = (contents, /, *, serial, model, trim = false))]
    fn new(contents: &Bound<'_, PyAny>, serial: String, model: String, trim: bool) -> PyResult<Self> {
        let contents = match contents.cast::<CdTray>() {
            Ok(tray) => Contents::Tray(Arc::clone(&tray.get().tray)),
            Err(_) => Contents::Disk(contents.cast::<Disk>()?.get().disk()?),
        };
        Ok(Self { contents, serial, model, trim })
    }
}

impl AtaDrive {
    /// The drive after power-on.
    fn drive(&self, serial_link: bool) -> Drive {
        let (serial, model) = (self.serial.clone(), self.model.clone());
        match &self.contents {
            Contents::Disk(disk) => {
                let identity = Identity { serial, model, serial_link, trim: self.trim };
                Drive::Disk(AtaDisk::new(Arc::clone(disk), identity))
            }
            Contents::Tray(tray) => {
                tray.power_on();
                Drive::Cdrom(Box::new(Cdrom::new(Arc::clone(tray), serial, model, serial_link)))
            }
        }
    }
}

fn settled(done: bool) -> PyResult<()> {
    if done {
        Ok(())
    } else {
        Err(PyBlockingIOError::new_err("the guest is in the middle of something with a drive"))
    }
}

/// The IDE function of a PIIX3.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct IdeController {
    core: Mutex<CoreIde>,
}

impl IdeController {
    fn region(&self, pick: impl FnOnce(&CoreIde) -> Arc<dyn Device>) -> Region {
        Region { device: pick(&self.core.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

fn channel(index: usize) -> PyResult<usize> {
    if index < CHANNELS { Ok(index) } else { Err(PyValueError::new_err(format!("no IDE channel {index}"))) }
}

#[pymethods]
impl IdeController {
    #[new]
    #[pyo3(signature = (memory, lines, drives, /))]
    fn new(
        memory: &Bound<'_, Memory>,
        lines: [Py<Line>; CHANNELS],
        drives: [[Option<Py<AtaDrive>>; 2]; CHANNELS],
    ) -> PyResult<Self> {
        let lines = lines.map(|line| Arc::clone(&line.get().line));
        let drives = drives.map(|pair| pair.map(|drive| drive.map(|drive| drive.get().drive(false))));
        let core = CoreIde::new(&memory.get().memory, lines, drives).map_err(PyOSError::new_err)?;
        Ok(Self { core: Mutex::new(core) })
    }

    #[pyo3(signature = (index, /))]
    fn command_block(&self, index: usize) -> PyResult<Region> {
        let index = channel(index)?;
        Ok(self.region(|core| core.command_block(index)))
    }

    #[pyo3(signature = (index, /))]
    fn control_block(&self, index: usize) -> PyResult<Region> {
        let index = channel(index)?;
        Ok(self.region(|core| core.control_block(index)))
    }

    fn bus_master(&self) -> Region {
        self.region(CoreIde::bus_master)
    }

    #[pyo3(signature = (enabled, /))]
    fn set_master(&self, py: Python<'_>, enabled: bool) {
        py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).set_master(enabled));
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        settled(py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).settle()))
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).state());
        value::to_python(py, &state)
    }

    #[pyo3(signature = (state, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = value::from_python(state)?;
        let restored = py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).restore(&state));
        restored.map_err(value::bad_state)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).close());
    }
}

/// An AHCI controller.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct AhciController {
    core: Mutex<CoreAhci>,
}

impl AhciController {
    fn with<T>(&self, py: Python<'_>, call: impl FnOnce(&mut CoreAhci) -> T + Send) -> T
    where
        T: Send,
    {
        py.detach(|| call(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[pymethods]
impl AhciController {
    #[new]
    #[pyo3(signature = (memory, fabric, pin, drives, /))]
    fn new(
        memory: &Bound<'_, Memory>,
        fabric: &Bound<'_, Fabric>,
        pin: &Bound<'_, Line>,
        drives: [Option<Py<AtaDrive>>; MOST_PORTS],
    ) -> PyResult<Self> {
        let drives = drives.map(|drive| drive.map(|drive| drive.get().drive(true)));
        let (fabric, pin) = (Arc::clone(&fabric.get().fabric), Arc::clone(&pin.get().line));
        let core = CoreAhci::new(&memory.get().memory, fabric, pin, drives).map_err(PyOSError::new_err)?;
        Ok(Self { core: Mutex::new(core) })
    }

    fn region(&self, py: Python<'_>) -> Region {
        Region { device: self.with(py, |core| core.region()) }
    }

    #[pyo3(signature = (enabled, /))]
    fn set_master(&self, py: Python<'_>, enabled: bool) {
        self.with(py, |core| core.set_master(enabled));
    }

    #[pyo3(signature = (pin_off, message, /))]
    fn set_interrupts(&self, py: Python<'_>, pin_off: bool, message: Option<(u64, u32)>) {
        self.with(py, |core| core.set_interrupts(pin_off, message));
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        settled(self.with(py, |core| core.settle()))
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &self.with(py, |core| core.state()))
    }

    #[pyo3(signature = (state, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = value::from_python(state)?;
        self.with(py, |core| core.restore(&state)).map_err(value::bad_state)
    }

    fn close(&self, py: Python<'_>) {
        self.with(py, CoreAhci::close);
    }
}

/// The label of the file system on a disc.
#[pyfunction]
#[pyo3(signature = (disc, /))]
pub fn probe_iso(py: Python<'_>, disc: &Bound<'_, Disk>) -> PyResult<Option<String>> {
    let disc = disc.get().disk()?;
    match py.detach(|| iso::probe(&*disc))? {
        iso::Disc::Iso9660 { label } => Ok(Some(label)),
        iso::Disc::Udf => Ok(Some(String::new())),
        iso::Disc::Unknown => Ok(None),
    }
}
