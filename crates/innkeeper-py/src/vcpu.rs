//! One virtual processor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_core::debug::{Stops, Watch};
use innkeeper_core::engine::Vcpu as CoreVcpu;
use innkeeper_core::exit::Exit;
use innkeeper_core::state::CpuStateV1;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::state::CpuState;
use crate::vm::Vm;
use crate::{device, errors};

/// What all Python objects for one vCPU share.
pub struct Shared {
    core: Arc<dyn CoreVcpu>,
    /// Somebody called `kick`, so the next kicked exit is theirs and not a raising device's.
    kick_asked: AtomicBool,
    /// An exit that `run` held back because it had to raise.
    held: Mutex<Option<Exit>>,
}

impl Shared {
    pub fn new(core: Arc<dyn CoreVcpu>) -> Self {
        Self { core, kick_asked: AtomicBool::new(false), held: Mutex::new(None) }
    }

    fn kick(&self) {
        self.kick_asked.store(true, Ordering::SeqCst);
        self.core.kick();
    }

    fn run(&self) -> Result<Exit, PyErr> {
        if let Some(exit) = self.held.lock().expect("vCPU lock").take() {
            return Ok(exit);
        }
        loop {
            let (exit, error) = device::collecting(&self.core, || self.core.run());
            let asked = exit == Exit::Kicked && self.kick_asked.swap(false, Ordering::SeqCst);
            match error {
                Some(error) => {
                    if asked {
                        self.kick();
                    } else if exit != Exit::Kicked {
                        *self.held.lock().expect("vCPU lock") = Some(exit);
                    }
                    return Err(error);
                }
                // Left over from a device that raised in an access behind which the guest stopped anyway.
                None if exit == Exit::Kicked && !asked => {}
                None => return Ok(exit),
            }
        }
    }
}

#[pyclass(frozen, module = "innkeeper._core")]
pub struct Vcpu {
    shared: Arc<Shared>,
    /// The devices are the VM's, and they must live as long as anything can run into them.
    vm: Py<Vm>,
}

impl Vcpu {
    pub fn new(shared: Arc<Shared>, vm: Py<Vm>) -> Self {
        Self { shared, vm }
    }
}

#[pymethods]
impl Vcpu {
    fn run(&self, py: Python<'_>) -> PyResult<(&'static str, String)> {
        let exit = py.detach(|| self.shared.run())?;
        Ok(match exit {
            Exit::Halt => ("halt", String::new()),
            Exit::Shutdown => ("shutdown", String::new()),
            Exit::Kicked => ("kicked", String::new()),
            Exit::Debug(reason) => ("debug", reason.to_string()),
            Exit::InternalError(detail) => ("internal-error", detail),
        })
    }

    fn kick(&self) {
        self.shared.kick();
    }

    fn get_state(&self, py: Python<'_>) -> PyResult<CpuState> {
        py.detach(|| self.shared.core.get_state()).map(CpuState::from).map_err(errors::engine)
    }

    #[pyo3(signature = (state, /))]
    fn set_state(&self, py: Python<'_>, state: CpuState) -> PyResult<()> {
        let state = CpuStateV1::try_from(state)?;
        py.detach(|| self.shared.core.set_state(&state)).map_err(errors::engine)
    }

    /// Breakpoints, then watches as (address, length, reads, writes).
    #[pyo3(signature = (breakpoints, watches, step, /))]
    fn set_stops(
        &self,
        py: Python<'_>,
        breakpoints: Vec<u64>,
        watches: Vec<(u64, u64, bool, bool)>,
        step: bool,
    ) -> PyResult<()> {
        let watches = watches.into_iter().map(|(address, length, reads, writes)| Watch {
            address,
            length,
            reads,
            writes,
        });
        let stops = Stops { breakpoints, watches: watches.collect(), step };
        py.detach(|| self.shared.core.set_stops(&stops)).map_err(errors::engine)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.vm)
    }
}
