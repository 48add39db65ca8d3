//! VM entry and VM exit: the contract between a machine and whatever runs its vCPUs.
//!
//! The loop and the bus lookup are the engine's; `run` returns only what the machine must decide.

use std::sync::Arc;
use std::{fmt, io};

use innkeeper_bus::interrupt::InterruptFabric;
use innkeeper_bus::state::Value;

use crate::bus::Bus;
use crate::debug::Stops;
use crate::exit::Exit;
use crate::state::CpuStateV1;
use crate::stats::Snapshot;

/// Why an engine could not do what the machine asked. Never a guest's mistake.
#[derive(Debug)]
pub enum EngineError {
    /// The host refused; `action` says what was being done.
    Host { action: String, source: io::Error },
    /// A value that this engine cannot take; the text names it and the limit.
    Refused(String),
    /// State was asked of a vCPU while `run` has it.
    Running,
}

impl EngineError {
    pub(crate) fn no_vcpu(index: u32, there: usize) -> Self {
        Self::Refused(format!("vCPU {index}; this machine has {there}"))
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { action, source } => write!(out, "cannot {action}: {source}"),
            Self::Refused(why) => out.write_str(why),
            Self::Running => out.write_str("the vCPU is running; kick it and wait for run to return"),
        }
    }
}

impl std::error::Error for EngineError {}

const NOT_SAVED: &str = "this engine neither saves nor restores machines; bt and interp do";

/// A translated block, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedBlock {
    pub vcpu: u32,
    /// Where the guest sees it, and where it is in guest-physical memory.
    pub rip: u64,
    pub gpa: u64,
    /// In words: "64-bit CPL0".
    pub mode: String,
    pub guest: Vec<u8>,
    pub host: Vec<u8>,
    pub host_address: u64,
    pub executions: u64,
    /// Why it was left for the run-time, and how often.
    pub exits: Vec<(String, u64)>,
}

/// One virtual machine: its vCPUs, its buses and its interrupt fabric.
pub trait Vm: InterruptFabric {
    /// The vCPU whose APIC ID is `index`.
    fn vcpu(&self, index: u32) -> Option<Arc<dyn Vcpu>>;
    /// I/O ports, 0 to FFFF.
    fn ports(&self) -> &Arc<Bus>;
    /// Guest-physical addresses that are not RAM.
    fn mmio(&self) -> &Arc<Bus>;
    /// The rate of the guest's TSC.
    fn tsc_khz(&self) -> u64;
    /// What each vCPU has counted so far.
    fn statistics(&self) -> Vec<Snapshot>;
    /// The reset line of the interrupt controllers, the local APICs and the PIT: they, and whatever waited
    /// in them, are as after power-up. Registers of the vCPUs stay, and time goes on.
    ///
    /// # Errors
    /// [`EngineError::Running`] if a vCPU runs, or what the host answered.
    fn reset_interrupts(&self) -> Result<(), EngineError>;
    /// Whether a vCPU, which does not run, is plugged in; all are at first. One that is not hears of no interrupt,
    /// NMI, INIT or SIPI. Each time its local APIC is as after power-up, and nothing waits there; its registers stay.
    ///
    /// # Errors
    /// [`EngineError::Running`] if it runs, [`EngineError::Refused`] if there is no such, or what the host answered.
    fn set_plugged(&self, index: u32, plugged: bool) -> Result<(), EngineError>;
    /// What is not memory, devices or [`CpuStateV1`]: clock, interrupt controllers, and what vCPUs are in the middle of.
    /// No vCPU runs.
    ///
    /// # Errors
    /// [`EngineError::Running`], or [`EngineError::Refused`] by an engine that cannot tell.
    fn state(&self) -> Result<Value, EngineError> {
        Err(EngineError::Refused(NOT_SAVED.into()))
    }
    /// Takes on such a state and those of the vCPUs, when memory and devices are restored already.
    ///
    /// # Errors
    /// [`EngineError::Running`], or [`EngineError::Refused`] for what cannot be; the VM must not run then.
    fn restore(&self, _state: &Value, _vcpus: &[CpuStateV1]) -> Result<(), EngineError> {
        Err(EngineError::Refused(NOT_SAVED.into()))
    }
    /// The blocks of vCPUs that are not running, where the engine translates and was told to trace.
    fn trace(&self) -> Vec<TracedBlock> {
        Vec::new()
    }
    /// The guest addresses of the blocks that each vCPU ran last, oldest first; as for `trace`.
    fn flight_record(&self) -> Vec<Vec<u64>> {
        Vec::new()
    }
}

/// One virtual processor. `run` belongs to one thread at a time, `kick` to any.
pub trait Vcpu: Send + Sync {
    /// VM entry. Serves exits until the machine must decide one.
    fn run(&self) -> Exit;
    /// Makes `run` return [`Exit::Kicked`] soon, or at once when next called.
    fn kick(&self);
    /// # Errors
    /// [`EngineError::Running`], or what the host answered.
    fn get_state(&self) -> Result<CpuStateV1, EngineError>;
    /// # Errors
    /// [`EngineError::Running`], [`EngineError::Refused`] for a state no processor can be in, or what
    /// the host answered.
    fn set_state(&self, state: &CpuStateV1) -> Result<(), EngineError>;
    /// What `run` stops for from now on, in place of what it did.
    ///
    /// # Errors
    /// [`EngineError::Running`], or [`EngineError::Refused`] by an engine that stops for no debugger.
    fn set_stops(&self, _stops: &Stops) -> Result<(), EngineError> {
        Err(EngineError::Refused("this engine does not stop for a debugger; bt and interp do".into()))
    }
}
