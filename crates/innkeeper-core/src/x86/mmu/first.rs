//! The first-level TLB of translated code, filled from the second, which the interpreter uses.

use super::canonical;
use super::slow::Target;
use super::tlb::{OFFSET, Tlb, slot};
use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::paging::{self, Access};

impl Cpu {
    /// Makes the first level answer for a page. False where only the general way leads on: devices,
    /// ROM, code, watched pages, addresses that are not canonical.
    ///
    /// # Errors
    /// #PF.
    pub fn fill_first_level(&mut self, linear: u64, write: bool) -> Result<bool, Stop> {
        if self.lma() && !canonical(linear) {
            return Ok(false);
        }
        let view = self.tlb.data;
        let access = if write { Access::Write } else { Access::Read };
        let Target::Ram { guarded: None, .. } = self.translate(linear, access, view)? else {
            return Ok(false);
        };
        let entries = &self.tlb.views[view];
        let entry = if write { entries.write[slot(linear)] } else { entries.read[slot(linear)] };
        if !Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global) {
            return Ok(false);
        }
        let global = entry.tag & OFFSET == self.tlb.global;
        self.stress_first_level();
        self.context.fill(view, linear, entry.host, write, global);
        Ok(true)
    }

    /// Leaves no other entry beside the one that comes next, where tests ask for that.
    #[inline]
    fn stress_first_level(&mut self) {
        if self.translator.as_ref().is_some_and(|translator| translator.stress.one_tlb_entry) {
            self.context.forget_entries();
        }
    }

    /// Makes the first level answer for a page that the second knows, or whose large leaf it knows. Tells
    /// whether it does now.
    pub fn fill_from_second_level(&mut self, linear: u64, write: bool) -> bool {
        let view = self.tlb.data;
        let (generation, global) = (self.tlb.generation, self.tlb.global);
        let entries = &self.tlb.views[view];
        let at = slot(linear);
        let entry = if write { entries.write[at] } else { entries.read[at] };
        if Tlb::hit(entry, linear, generation, global) {
            self.stress_first_level();
            self.context.fill(view, linear, entry.host, write, entry.tag & OFFSET == global);
            return true;
        }
        let Some(leaf) = self.tlb.large(linear, write, view) else { return false };
        if write || self.lapic.mmio_base().is_some_and(|base| base == leaf.gpa & !OFFSET) {
            return self.fill_first_level(linear, write) == Ok(true);
        }
        let Some(page) = self.platform.memory.page_index(leaf.gpa) else { return false };
        let host = self.platform.memory.page_pointer(page) as u64;
        self.tlb.note_leaf(linear, leaf.size);
        self.stress_first_level();
        self.context.fill(view, linear, host, false, leaf.global);
        true
    }

    /// The RAM page that a write goes to which must be reported because it holds code, and its host address;
    /// right after `fill_first_level` said no.
    pub fn guarded_page(&self, linear: u64) -> Option<(u32, u64)> {
        let entry = self.tlb.views[self.tlb.data & 3].guarded[slot(linear)];
        let hit = Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global);
        let page = entry.host as u32;
        hit.then(|| (page, self.platform.memory.page_pointer(page) as u64))
    }

    /// Whether the code page of a linear address, just found, outlives address-space changes.
    pub fn is_global_code(&self, linear: u64) -> bool {
        self.tlb.views[self.tlb.code & 3].code[slot(linear)].tag & OFFSET == self.tlb.global
    }

    /// The RAM page that supervisor code at a linear address comes from, and whether it is mapped
    /// globally; walks the tables, and counts nothing.
    pub fn peek_code_page(&self, linear: u64) -> Option<(u32, bool)> {
        let walk = || paging::walk(&self.platform.memory, &self.controls(), linear, Access::Execute, false);
        let leaf = std::iter::repeat_with(walk).find(|result| *result != Err(paging::RETRY))?.ok()?;
        Some((self.platform.memory.page_index(leaf.gpa)?, leaf.global))
    }
}
