//! What a debugger asks of a vCPU. The guest sees nothing of it: its memory and its debug registers stay its own.

use std::fmt;

/// Where data is watched: `length` bytes from a linear address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    pub address: u64,
    pub length: u64,
    pub reads: bool,
    pub writes: bool,
}

/// When `run` shall return [`crate::exit::Exit::Debug`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Linear addresses of instructions, which are not executed then.
    pub breakpoints: Vec<u64>,
    pub watches: Vec<Watch>,
    /// After one instruction. No interrupt is delivered before it.
    pub step: bool,
}

/// Why it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Breakpoint,
    Step,
    /// The watch at this address was hit.
    Read(u64),
    Write(u64),
    /// The host's KVM says so, of itself.
    Host,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breakpoint => out.write_str("breakpoint"),
            Self::Step => out.write_str("step"),
            Self::Read(address) => write!(out, "read {address:#x}"),
            Self::Write(address) => write!(out, "write {address:#x}"),
            Self::Host => out.write_str("host"),
        }
    }
}
