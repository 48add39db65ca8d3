//! Memory accesses as hot handlers make them: 64-bit mode, a cached translation, within a page; or
//! nothing done, and the handler goes the general way in a function of its own. So the common path
//! calls nothing and needs no stack frame.

use super::tlb::{Entry, OFFSET, Tlb, slot};
use crate::memory::PAGE_SIZE;
use crate::x86::cpu::Cpu;
use crate::x86::op::Op;
use crate::x86::word::Word;

impl Cpu {
    /// The linear address of the memory operand, as 64-bit mode forms it.
    #[inline(always)]
    fn quick_linear(&self, op: &Op) -> u64 {
        self.bases[usize::from(op.segment & 7)].wrapping_add(self.ea(op))
    }

    #[inline(always)]
    fn quick_host<T: Word>(&self, entry: Entry, linear: u64) -> Option<*mut T> {
        let hit = self.long
            && Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES;
        hit.then_some((entry.host + (linear & OFFSET)) as *mut T)
    }

    /// Reads at a linear address, in 64-bit mode.
    #[inline(always)]
    pub fn quick_load<T: Word>(&self, linear: u64) -> Option<T> {
        let entry = self.tlb.views[self.tlb.data & 3].read[slot(linear)];
        let host = self.quick_host::<T>(entry, linear)?;
        // SAFETY: a read entry maps a whole RAM page of a live mapping, and the access stays in it.
        Some(unsafe { host.read_unaligned() })
    }

    /// Where to write at a linear address, in 64-bit mode; reading there is allowed too.
    #[inline(always)]
    pub fn quick_place<T: Word>(&self, linear: u64) -> Option<*mut T> {
        let entry = self.tlb.views[self.tlb.data & 3].write[slot(linear)];
        self.quick_host::<T>(entry, linear)
    }

    /// Writes at a linear address, in 64-bit mode. Tells whether it did.
    #[inline(always)]
    pub fn quick_store<T: Word>(&mut self, linear: u64, value: T) -> bool {
        let Some(host) = self.quick_place::<T>(linear) else { return false };
        // SAFETY: a write entry maps a whole writable RAM page, and the access stays in it.
        unsafe { host.write_unaligned(value) };
        true
    }

    /// `quick_load` of the memory operand.
    #[inline(always)]
    pub fn quick_load_op<T: Word>(&self, op: &Op) -> Option<T> {
        self.quick_load(self.quick_linear(op))
    }

    /// `quick_place` of the memory operand.
    #[inline(always)]
    pub fn quick_place_op<T: Word>(&self, op: &Op) -> Option<*mut T> {
        self.quick_place(self.quick_linear(op))
    }

    /// `quick_store` to the memory operand.
    #[inline(always)]
    pub fn quick_store_op<T: Word>(&mut self, op: &Op, value: T) -> bool {
        let linear = self.quick_linear(op);
        self.quick_store(linear, value)
    }
}
