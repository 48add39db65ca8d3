//! A virtual machine under one engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use innkeeper_bus::state::Value;
use innkeeper_core::bus::{Bus, Device};
use innkeeper_core::engine::{EngineError, Vm as CoreVm};
use innkeeper_core::kvm::KvmVm;
use innkeeper_core::memory::GuestMemory;
use innkeeper_core::soft::{Settings, SoftVm, Testing};
use innkeeper_core::state::CpuStateV1;
use innkeeper_core::stats::Snapshot;
use innkeeper_core::x86::bt::{Stress, Verify};
use pyo3::exceptions::{PyIndexError, PyOSError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::device::Adapter;
use crate::errors;
use crate::memory::{Memory, Ram};
use crate::native::{Fabric, Region};
use crate::state::CpuState;
use crate::trace;
use crate::value;
use crate::vcpu::{Shared, Vcpu};

const PORTS: u64 = 0x1_0000;
/// IA32_TIME_STAMP_COUNTER and IA32_TSC_ADJUST.
const TIME_MSRS: [u32; 2] = [0x10, 0x3B];
/// APIC IDs are eight bits wide, and FF is everybody.
const MOST_VCPUS: u32 = 255;
/// What relative branches reach from one end of a code cache to the other, with room to spare.
const MOST_CODE_CACHE_MIB: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Ports,
    Mmio,
}

/// What is on a bus from Python's side.
enum Mapped {
    Python(Arc<Adapter>),
    Native(Arc<dyn Device>),
}

impl Mapped {
    fn device(&self) -> Arc<dyn Device> {
        match self {
            Self::Python(adapter) => Arc::clone(adapter) as Arc<dyn Device>,
            Self::Native(device) => Arc::clone(device),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Python(adapter) => adapter.traverse(visit),
            Self::Native(_) => Ok(()),
        }
    }
}

type Devices = BTreeMap<(Space, u64), Mapped>;

#[pyclass(frozen, module = "innkeeper._core")]
pub struct Vm {
    core: Arc<dyn CoreVm>,
    memory: Arc<GuestMemory>,
    vcpus: Vec<Arc<Shared>>,
    /// Python's devices on the buses, for the garbage collector: they often know their VM. The lock
    /// is only taken attached, and nothing of Python is called under it.
    devices: Mutex<Devices>,
}

#[pymethods]
impl Vm {
    #[new]
    #[pyo3(signature = (engine, memory, vcpus, /, *, code_cache_mib = 64, trace = false, testing = None))]
    fn new(
        py: Python<'_>,
        engine: &str,
        memory: &Bound<'_, Memory>,
        vcpus: u32,
        code_cache_mib: usize,
        trace: bool,
        testing: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if vcpus == 0 || vcpus > MOST_VCPUS {
            return Err(PyValueError::new_err(format!("{vcpus} vCPUs; a machine has 1 to {MOST_VCPUS}")));
        }
        if code_cache_mib == 0 || code_cache_mib > MOST_CODE_CACHE_MIB {
            let limits = format!("a vCPU has 1 to {MOST_CODE_CACHE_MIB}");
            return Err(PyValueError::new_err(format!("{code_cache_mib} MiB of code cache; {limits}")));
        }
        let memory = Arc::clone(&memory.get().memory);
        let testing = testing.map_or(Ok(Testing::default()), read_testing)?;
        let settings = Settings { translate: true, code_cache_bytes: code_cache_mib << 20, trace, testing };
        let core = py.detach(|| create(engine, Arc::clone(&memory), vcpus, settings))?;
        let vcpus = (0..vcpus).filter_map(|index| core.vcpu(index)).map(|vcpu| Arc::new(Shared::new(vcpu)));
        Ok(Self { vcpus: vcpus.collect(), core, memory, devices: Mutex::default() })
    }

    #[pyo3(signature = (index, /))]
    fn vcpu(this: &Bound<'_, Self>, index: usize) -> PyResult<Vcpu> {
        let vcpus = &this.get().vcpus;
        let shared = vcpus.get(index).ok_or_else(|| {
            PyIndexError::new_err(format!("vCPU {index}; this machine has {}", vcpus.len()))
        })?;
        Ok(Vcpu::new(Arc::clone(shared), this.clone().unbind()))
    }

    #[pyo3(signature = (base, size, device, /))]
    fn map_ports(&self, base: u64, size: u64, device: &Bound<'_, PyAny>) -> PyResult<()> {
        if base.checked_add(size).is_none_or(|end| end > PORTS) {
            return Err(PyValueError::new_err(format!("ports {base:#x} + {size:#x} go beyond FFFFh")));
        }
        self.map(Space::Ports, base, size, device)
    }

    #[pyo3(signature = (base, /))]
    fn unmap_ports(&self, base: u64) -> PyResult<()> {
        self.unmap(Space::Ports, base)
    }

    #[pyo3(signature = (base, size, device, /))]
    fn map_mmio(&self, base: u64, size: u64, device: &Bound<'_, PyAny>) -> PyResult<()> {
        self.map(Space::Mmio, base, size, device)
    }

    #[pyo3(signature = (base, /))]
    fn unmap_mmio(&self, base: u64) -> PyResult<()> {
        self.unmap(Space::Mmio, base)
    }

    #[pyo3(signature = (gpa, ram, /, *, offset = 0, size = None, read_only = false))]
    fn map_ram(
        &self,
        py: Python<'_>,
        gpa: u64,
        ram: &Bound<'_, Ram>,
        offset: u64,
        size: Option<u64>,
        read_only: bool,
    ) -> PyResult<()> {
        let ram = &ram.get().ram;
        let size = size.unwrap_or(ram.size().saturating_sub(offset));
        py.detach(|| self.memory.map_ram(gpa, ram, offset, size, read_only)).map_err(errors::memory)
    }

    #[pyo3(signature = (gpa, /))]
    fn unmap_ram(&self, py: Python<'_>, gpa: u64) -> PyResult<()> {
        py.detach(|| self.memory.unmap_ram(gpa)).map_err(errors::memory)
    }

    #[pyo3(signature = (gsi, level, /))]
    fn set_irq(&self, gsi: u32, level: bool) {
        self.core.set_irq(gsi, level);
    }

    #[pyo3(signature = (address, data, /))]
    fn signal_msi(&self, address: u64, data: u32) {
        self.core.signal_msi(address, data);
    }

    fn reset_interrupts(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.core.reset_interrupts()).map_err(errors::engine)
    }

    #[pyo3(signature = (index, plugged, /))]
    fn set_plugged(&self, py: Python<'_>, index: u32, plugged: bool) -> PyResult<()> {
        py.detach(|| self.core.set_plugged(index, plugged)).map_err(errors::engine)
    }

    #[getter]
    fn fabric(&self) -> Fabric {
        let core: Arc<dyn CoreVm> = Arc::clone(&self.core);
        Fabric { fabric: core }
    }

    #[getter]
    fn tsc_khz(&self) -> u64 {
        self.core.tsc_khz()
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let vcpus = PyList::empty(py);
        for snapshot in self.core.statistics() {
            vcpus.append(ledger(py, &snapshot)?)?;
        }
        let all = PyDict::new(py);
        all.set_item("vcpus", vcpus)?;
        Ok(all)
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &py.detach(|| self.core.state()).map_err(errors::engine)?)
    }

    #[pyo3(signature = (state, vcpus, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>, vcpus: Vec<CpuState>) -> PyResult<()> {
        let state = value::from_python(state)?;
        let vcpus: Vec<_> = vcpus.into_iter().map(CpuStateV1::try_from).collect::<PyResult<_>>()?;
        py.detach(|| self.core.restore(&state, &vcpus)).map_err(errors::engine)
    }

    #[pyo3(signature = (clock, /))]
    fn rewind(&self, clock: &Bound<'_, PyAny>) -> PyResult<()> {
        let clock = value::from_python(clock)?;
        // Attached throughout: no device of Python's moves a line between what is read here and what is taken on.
        let mut state = self.core.state().map_err(errors::engine)?;
        if let Value::Map(fields) = &mut state {
            fields
                .iter_mut()
                .filter(|(name, _)| name == "clock")
                .for_each(|(_, value)| *value = clock.clone());
        }
        let mut vcpus = Vec::new();
        for core in (0..self.vcpus.len()).filter_map(|index| self.core.vcpu(index as u32)) {
            let mut vcpu = core.get_state().map_err(errors::engine)?;
            vcpu.msrs.retain(|(index, _)| !TIME_MSRS.contains(index));
            vcpus.push(vcpu);
        }
        self.core.restore(&state, &vcpus).map_err(errors::engine)
    }

    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let blocks = PyList::empty(py);
        for block in py.detach(|| self.core.trace()) {
            blocks.append(trace::block(py, &block)?)?;
        }
        Ok(blocks)
    }

    fn flight_record(&self, py: Python<'_>) -> Vec<Vec<u64>> {
        py.detach(|| self.core.flight_record())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.devices.lock().expect("device lock").values().try_for_each(|mapped| mapped.traverse(&visit))
    }

    fn __clear__(&self) {
        let devices = std::mem::take(&mut *self.devices.lock().expect("device lock"));
        for &(space, base) in devices.keys() {
            self.bus(space).unmap(base);
        }
    }
}

impl Vm {
    fn bus(&self, space: Space) -> &Arc<Bus> {
        match space {
            Space::Ports => self.core.ports(),
            Space::Mmio => self.core.mmio(),
        }
    }

    fn map(&self, space: Space, base: u64, size: u64, device: &Bound<'_, PyAny>) -> PyResult<()> {
        let mapped = match device.cast::<Region>() {
            Ok(region) => Mapped::Native(Arc::clone(&region.get().device)),
            Err(_) => Mapped::Python(Arc::new(Adapter::new(device)?)),
        };
        self.bus(space).map(base, size, mapped.device()).map_err(|_| {
            let what = if space == Space::Ports { "ports" } else { "MMIO" };
            PyValueError::new_err(format!("{what} {base:#x} + {size:#x} are empty, or claimed already"))
        })?;
        self.devices.lock().expect("device lock").insert((space, base), mapped);
        Ok(())
    }

    /// Only what was mapped from Python: the engine's own chips stay.
    fn unmap(&self, space: Space, base: u64) -> PyResult<()> {
        let mapped = self.devices.lock().expect("device lock").remove(&(space, base));
        if mapped.is_none() {
            return Err(PyValueError::new_err(format!("nothing is mapped from {base:#x}")));
        }
        self.bus(space).unmap(base);
        Ok(())
    }
}

/// What a test asks of translation: a choice of `exact_flags`, `verify` (a block's first executions, then one
/// in so many, chained or not), `one_tlb_entry` and `clear_every`.
fn read_testing(asked: &Bound<'_, PyDict>) -> PyResult<Testing> {
    let mut testing = Testing::default();
    let Stress { one_tlb_entry, clear_every } = &mut testing.stress;
    for (name, value) in asked {
        match name.extract::<String>()?.as_str() {
            "exact_flags" => testing.exact_flags = value.extract()?,
            "verify" => {
                let (first, every, chained) = value.extract()?;
                testing.verify = Some(Verify { first, every, chained });
            }
            "one_tlb_entry" => *one_tlb_entry = value.extract()?,
            "clear_every" => *clear_every = value.extract()?,
            other => return Err(PyValueError::new_err(format!("no way of testing is called {other:?}"))),
        }
    }
    Ok(testing)
}

fn create(
    engine: &str,
    memory: Arc<GuestMemory>,
    vcpus: u32,
    settings: Settings,
) -> PyResult<Arc<dyn CoreVm>> {
    match engine {
        "bt" => made(SoftVm::with_settings(memory, vcpus, settings)),
        "interp" => Ok(Arc::new(SoftVm::new(memory, vcpus))),
        "kvm" => made(KvmVm::new(memory, vcpus)),
        other => {
            let engines = "there are \"bt\", \"interp\" and \"kvm\"";
            Err(PyValueError::new_err(format!("no engine {other:?}; {engines}")))
        }
    }
}

/// What the host refuses or lacks is an `OSError`.
fn made<Made: CoreVm + 'static>(vm: Result<Made, EngineError>) -> PyResult<Arc<dyn CoreVm>> {
    match vm {
        Ok(vm) => Ok(Arc::new(vm)),
        Err(EngineError::Refused(why)) => Err(PyOSError::new_err(why)),
        Err(error) => Err(errors::engine(error)),
    }
}

fn ledger<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyDict>> {
    let (ledger, exceptions, ports) = (PyDict::new(py), PyDict::new(py), PyDict::new(py));
    for (name, count) in &snapshot.counters {
        ledger.set_item(name, count)?;
    }
    for (vector, count) in &snapshot.exceptions {
        exceptions.set_item(vector, count)?;
    }
    for ((port, write), count) in &snapshot.ports {
        ports.set_item(format!("{} {port:#x}", if *write { "out" } else { "in" }), count)?;
    }
    ledger.set_item("exceptions", exceptions)?;
    ledger.set_item("ports", ports)?;
    Ok(ledger)
}
