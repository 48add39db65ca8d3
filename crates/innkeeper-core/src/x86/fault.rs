//! Why an instruction did not simply complete.

/// Exception vectors (Intel SDM vol. 3, table 6-1).
pub mod vector {
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
}

/// What a handler returns in place of "done, go on with the next instruction". One byte wide, so
/// that `Result<(), Stop>` travels in a register; the details are in `Cpu::fault` and `Cpu::exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The instruction faulted and changed nothing; `Cpu::fault` says how. RIP still points behind
    /// it: the run loop rewinds.
    Fault,
    /// The instruction is complete and RIP is right (a handler that restarts itself, such as an
    /// unfinished REP, rewinds RIP by `op.length` first), but the block must be left.
    Leave,
    /// The instruction is complete, and `run` must return `Cpu::exit` to the machine.
    Exit,
}

/// A fault being raised. `error` is pushed where the vector has an error code; `cr2` is loaded for #PF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    pub vector: u8,
    pub error: u32,
    pub address: u64,
}

impl Fault {
    /// Whether delivery pushes an error code in protected mode (Intel SDM vol. 3, table 6-1).
    pub fn has_error(&self) -> bool {
        matches!(self.vector, vector::DF | vector::TS..=vector::PF | vector::AC)
    }
}
