//! VM exits that the machine must decide. Port and MMIO accesses are not among them: the run loop
//! calls the device through its [`crate::bus::Bus`] and goes on.

use crate::debug::Reason;

/// Why `run` returned to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// This vCPU and every other one is halted with nothing left that could wake it.
    Halt,
    /// Triple fault: the processor has shut down (Intel SDM vol. 3, 6.15, "Double Fault").
    Shutdown,
    /// `kick` was called.
    Kicked,
    /// What a debugger waits for, set by [`crate::engine::Vcpu::set_stops`].
    Debug(Reason),
    /// The engine met something that it cannot do; the text names it. Never a guest's mistake.
    InternalError(String),
}
