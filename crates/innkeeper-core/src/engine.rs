//! VM entry and VM exit: the contract between a machine and whatever runs its vCPUs.
//!
//! The loop and the bus lookup are the engine's; `run` returns only what the machine must decide.

use std::sync::Arc;
use std::{fmt, io};

use crate::bus::Bus;
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

/// One virtual machine: its vCPUs, its buses and its interrupt fabric.
pub trait Vm: Send + Sync {
    /// The vCPU whose APIC ID is `index`.
    fn vcpu(&self, index: u32) -> Option<Arc<dyn Vcpu>>;
    /// I/O ports, 0 to FFFF.
    fn ports(&self) -> &Arc<Bus>;
    /// Guest-physical addresses that are not RAM.
    fn mmio(&self) -> &Arc<Bus>;
    /// Drives an interrupt line.
    fn set_irq(&self, gsi: u32, level: bool);
    /// Delivers a message-signalled interrupt (Intel SDM vol. 3, 11.11).
    fn signal_msi(&self, address: u64, data: u32);
    /// The rate of the guest's TSC.
    fn tsc_khz(&self) -> u64;
    /// What each vCPU has counted so far.
    fn statistics(&self) -> Vec<Snapshot>;
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
}
