//! What translated blocks did, for those who want to see.

use crate::engine::TracedBlock;
use crate::x86::cpu::Cpu;

impl Cpu {
    /// Every live block.
    pub fn trace(&self) -> Vec<TracedBlock> {
        Vec::new()
    }

    /// The guest addresses of the last blocks, oldest first.
    pub fn flight_record(&self) -> Vec<u64> {
        Vec::new()
    }
}
