//! Delivering exceptions and interrupts: IDT gates in every mode, double and triple faults, #DB, NMI.
//! Source: Intel SDM vol. 3, chapter 6; vol. 3, 21.1 (real mode).

use crate::exit::Exit;
use crate::x86::cpu::Cpu;

impl Cpu {
    /// Delivers `self.fault`, whose instruction RIP points at. Faults while delivering become #DF, and
    /// then shutdown.
    pub fn deliver_fault(&mut self) -> Option<Exit> {
        todo!()
    }
    /// Delivers #DB as a trap for `self.debug_hits` (which it clears), RIP behind the instruction.
    pub fn deliver_debug_trap(&mut self) -> Option<Exit> {
        todo!()
    }
    /// Delivers an external interrupt.
    pub fn deliver_interrupt(&mut self, _vector: u8) -> Option<Exit> {
        todo!()
    }
    pub fn deliver_nmi(&mut self) -> Option<Exit> {
        todo!()
    }
}
