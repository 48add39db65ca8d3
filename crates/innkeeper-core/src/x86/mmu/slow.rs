//! What an access does when the TLB has no plain answer: walks, page crossings, devices, ROM, code
//! pages, data breakpoints, alignment checks; and the fetching of code.

use super::tlb::{CHECKED, CodeEntry, Entry, OFFSET, SUPERVISOR_SMAP, Tlb, USER, slot};
use super::{canonical, modify_ram};
use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::{Fault, Stop, vector};
use crate::x86::paging::{self, Access, Controls, Leaf};
use crate::x86::word::{Int, Word};

/// Where one page's worth of an access leads.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Host address of the byte; `guarded` is the RAM page index if writes must be reported.
    Ram {
        host: *mut u8,
        guarded: Option<u32>,
    },
    /// ROM: reads work, writes go to whatever listens on the MMIO bus.
    Rom {
        host: *mut u8,
        gpa: u64,
    },
    Device {
        gpa: u64,
    },
}

impl Cpu {
    #[cold]
    #[inline(never)]
    pub(super) fn load_slow<T: Word>(&mut self, segment: u8, linear: u64, view: usize) -> Result<T, Stop> {
        let mut bytes = [0u8; 32];
        let length = T::BYTES;
        self.check_alignment::<T>(linear, view)?;
        let spans = self.spans(segment, linear, length, Access::Read, view)?;
        let mut at = 0usize;
        for (target, count) in spans.into_iter().flatten() {
            self.copy_in(target, &mut bytes[at..at + count as usize]);
            at += count as usize;
        }
        self.note_data_access(linear, length, Access::Read);
        Ok(T::from_bytes(&bytes[..length as usize]))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn store_slow(
        &mut self,
        segment: u8,
        linear: u64,
        bytes: &[u8],
        view: usize,
    ) -> Result<(), Stop> {
        if view == CHECKED && bytes.len() <= 8 && linear & (bytes.len() as u64 - 1) != 0 {
            return Err(self.raise(vector::AC, 0));
        }
        let spans = self.spans(segment, linear, bytes.len() as u64, Access::Write, view)?;
        let mut at = 0usize;
        for (target, count) in spans.into_iter().flatten() {
            self.copy_out(target, &bytes[at..at + count as usize]);
            at += count as usize;
        }
        self.note_data_access(linear, bytes.len() as u64, Access::Write);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    pub(super) fn modify_slow<T: Int>(
        &mut self,
        segment: u8,
        linear: u64,
        locked: bool,
        change: &mut dyn FnMut(T) -> T,
    ) -> Result<T, Stop> {
        let view = self.tlb.data;
        self.check_alignment::<T>(linear, view)?;
        let spans = self.spans(segment, linear, T::BYTES, Access::Write, view)?;
        let before = if let [Some((Target::Ram { host, guarded }, _)), None] = spans {
            // SAFETY: `spans` gave a host pointer to that many bytes of writable RAM.
            let before = unsafe { modify_ram(host.cast(), locked, change) };
            self.report_code_write(host, guarded, T::BYTES);
            before
        } else {
            // Across pages or on a device: not atomic against other vCPUs' plain accesses, but locked
            // operations exclude each other.
            let platform = std::sync::Arc::clone(&self.platform);
            let _split = locked.then(|| platform.code_guard.split_lock());
            let before = self.load_slow::<T>(segment, linear, view)?;
            self.store_slow(segment, linear, change(before).as_bytes(), view)?;
            before
        };
        self.note_data_access(linear, T::BYTES, Access::Write);
        Ok(before)
    }

    pub(super) fn check_alignment<T: Word>(&mut self, linear: u64, view: usize) -> Result<(), Stop> {
        if view == CHECKED && T::BYTES.is_power_of_two() && T::BYTES <= 8 && linear & (T::BYTES - 1) != 0 {
            return Err(self.raise(vector::AC, 0));
        }
        Ok(())
    }

    /// Translates an access of up to 32 bytes (more if only probing), which may touch two pages.
    pub(super) fn spans(
        &mut self,
        segment: u8,
        linear: u64,
        length: u64,
        access: Access,
        view: usize,
    ) -> Result<[Option<(Target, u64)>; 2], Stop> {
        if self.lma() && !(canonical(linear) && canonical(linear.wrapping_add(length - 1))) {
            return Err(self.segment_fault(segment));
        }
        let first = length.min(PAGE_SIZE - (linear & OFFSET));
        let low = self.translate(linear, access, view)?;
        if first == length {
            return Ok([Some((low, first)), None]);
        }
        let next = linear.wrapping_add(first);
        let next = if self.long || linear > 0xFFFF_FFFF { next } else { next & 0xFFFF_FFFF };
        let high = self.translate(next, access, view)?;
        Ok([Some((low, first)), Some((high, length - first))])
    }

    /// Finds or makes the translation of one linear address, filling the caches.
    pub(super) fn translate(&mut self, linear: u64, access: Access, view: usize) -> Result<Target, Stop> {
        let at = slot(linear);
        let (generation, global) = (self.tlb.generation, self.tlb.global);
        let entries = &self.tlb.views[view];
        let entry = if access == Access::Write { entries.write[at] } else { entries.read[at] };
        if Tlb::hit(entry, linear, generation, global) {
            return Ok(Target::Ram { host: (entry.host + (linear & OFFSET)) as *mut u8, guarded: None });
        }
        let guarded = entries.guarded[at];
        // A page that is no code page any more is entered as writable below.
        let page = guarded.host as u32;
        if access == Access::Write
            && Tlb::hit(guarded, linear, generation, global)
            && self.platform.memory.has_code(page)
        {
            // SAFETY: the page pointer is to a whole page.
            let host = unsafe { self.platform.memory.page_pointer(page).add((linear & OFFSET) as usize) };
            self.verify_page(page);
            return Ok(Target::Ram { host, guarded: Some(page) });
        }
        let user = view == USER || view == CHECKED;
        // This view serves implicit accesses, and explicit ones while AC is clear anyway.
        let implicit = view == SUPERVISOR_SMAP;
        let write = access == Access::Write;
        let leaf = match self.tlb.large(linear, write, view) {
            Some(leaf) => leaf,
            None => {
                let leaf = self.walk(linear, access, user, implicit)?;
                if view != CHECKED {
                    self.tlb.keep_large(linear, &leaf, write, view);
                }
                leaf
            }
        };
        if write && let Some(page) = self.platform.memory.page_index(leaf.gpa) {
            self.verify_page(page);
        }
        Ok(self.fill(linear, leaf, access, view))
    }

    /// Enters a leaf into the data caches and says where it leads.
    fn fill(&mut self, linear: u64, leaf: Leaf, access: Access, view: usize) -> Target {
        let memory = &self.platform.memory;
        let lapic_page = self.lapic.mmio_base().is_some_and(|base| base == leaf.gpa & !OFFSET);
        let slot_found = memory.slot(leaf.gpa).filter(|_| !lapic_page);
        let Some(found) = slot_found else { return Target::Device { gpa: leaf.gpa } };
        let page = ((leaf.gpa - found.gpa + found.offset) >> 12) as u32;
        let read_only = found.read_only;
        let base = memory.page_pointer(page);
        // SAFETY: the page pointer is to a whole page.
        let host = unsafe { base.add((linear & OFFSET) as usize) };
        let has_code = access == Access::Write && !memory.write_unreported(page, self.index);
        if access == Access::Write && !has_code {
            self.tlb.forget_reported(page);
        }
        self.tlb.note_leaf(linear, leaf.size);
        if view != CHECKED && !self.watched_page(linear) {
            let generation = if leaf.global { self.tlb.global } else { self.tlb.generation };
            let entry = Entry { tag: linear & !OFFSET | generation, host: base as u64 };
            let entries = &mut self.tlb.views[view];
            entries.read[slot(linear)] = entry;
            if access == Access::Write && !read_only {
                if has_code {
                    entries.guarded[slot(linear)] = Entry { host: u64::from(page), ..entry };
                } else {
                    entries.write[slot(linear)] = entry;
                }
            }
        }
        match read_only {
            true => Target::Rom { host, gpa: leaf.gpa },
            false => Target::Ram { host, guarded: has_code.then_some(page) },
        }
    }

    /// Walks the guest's tables; a failed walk becomes #PF. `implicit`: SMAP does not spare
    /// implicit supervisor accesses, whatever RFLAGS.AC.
    fn walk(&mut self, linear: u64, access: Access, user: bool, implicit: bool) -> Result<Leaf, Stop> {
        let mut controls = self.controls();
        if implicit {
            controls.rflags &= !flag::AC;
        }
        self.stats.tlb_fills.add(1);
        loop {
            match paging::walk(&self.platform.memory, &controls, linear, access, user) {
                Ok(leaf) => return Ok(leaf),
                Err(paging::RETRY) => {}
                Err(error) => {
                    self.fault = Fault { vector: vector::PF, error, address: linear };
                    return Err(Stop::Fault);
                }
            }
        }
    }

    pub(super) fn controls(&self) -> Controls {
        let &Self { cr0, cr3, cr4, efer, rflags, pdptes, .. } = self;
        Controls { cr0, cr3, cr4, efer, rflags, pdptes }
    }

    fn copy_in(&mut self, target: Target, out: &mut [u8]) {
        match target {
            // SAFETY: the target is that many bytes of one RAM page.
            Target::Ram { host, .. } | Target::Rom { host, .. } => unsafe {
                std::ptr::copy_nonoverlapping(host, out.as_mut_ptr(), out.len());
            },
            Target::Device { gpa } => self.device_read(gpa, out),
        }
    }

    fn copy_out(&mut self, target: Target, bytes: &[u8]) {
        match target {
            Target::Ram { host, guarded } => {
                // SAFETY: the target is that many bytes of one writable RAM page.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), host, bytes.len()) };
                self.report_code_write(host, guarded, bytes.len() as u64);
            }
            Target::Rom { gpa, .. } | Target::Device { gpa } => self.device_write(gpa, bytes),
        }
    }

    fn report_code_write(&mut self, host: *mut u8, guarded: Option<u32>, length: u64) {
        let Some(page) = guarded else { return };
        if self.platform.memory.code_written(page, host as u64 & OFFSET, length) {
            // The running block may be the one that was written.
            self.leave = true;
        }
    }

    /// Reads device memory in the pieces a 64-bit bus would use.
    fn device_read(&mut self, gpa: u64, out: &mut [u8]) {
        for (at, count) in bus_pieces(gpa, out.len() as u64) {
            let value = match self.lapic.mmio_base() {
                Some(base) if base == (gpa + at) & !OFFSET => {
                    self.stats.apic_accesses.add(1);
                    u64::from(self.lapic.mmio_read((gpa + at) & OFFSET))
                }
                _ => {
                    self.stats.mmio_reads.add(1);
                    self.platform.mmio.read(gpa + at, count as u8)
                }
            };
            let range = at as usize..(at + count) as usize;
            out[range].copy_from_slice(&value.to_le_bytes()[..count as usize]);
        }
        self.heed_device();
    }

    fn device_write(&mut self, gpa: u64, bytes: &[u8]) {
        for (at, count) in bus_pieces(gpa, bytes.len() as u64) {
            let mut value = [0; 8];
            value[..count as usize].copy_from_slice(&bytes[at as usize..(at + count) as usize]);
            let value = u64::from_le_bytes(value);
            match self.lapic.mmio_base() {
                Some(base) if base == (gpa + at) & !OFFSET => {
                    self.stats.apic_accesses.add(1);
                    self.lapic.mmio_write((gpa + at) & OFFSET, value as u32);
                }
                _ => {
                    self.stats.mmio_writes.add(1);
                    self.platform.mmio.write(gpa + at, count as u8, value);
                }
            }
        }
        self.heed_device();
    }

    // ---- data watchpoints (DR0-DR3) -------------------------------------------------------------

    /// Whether a data breakpoint is armed in this page, so that accesses must take the slow path.
    fn watched_page(&self, linear: u64) -> bool {
        if self.is_watched(linear) {
            return true;
        }
        self.dr[7] & 0xFF != 0
            && (0..4).any(|i| {
                let data = self.dr[7] >> (16 + 4 * i) & 1 != 0; // types 01 (write) and 11 (read or write)
                let armed = self.dr[7] >> (2 * i) & 3 != 0;
                armed && data && (self.dr[i] ^ linear) & !OFFSET == 0
            })
    }

    /// Records data breakpoints that an access hits; #DB is reported behind the instruction.
    fn note_data_access(&mut self, linear: u64, length: u64, access: Access) {
        self.note_watched(linear, length, access == Access::Write);
        if self.dr[7] & 0xFF == 0 {
            return;
        }
        for i in 0..4 {
            let kind = self.dr[7] >> (16 + 4 * i) & 3;
            let armed = self.dr[7] >> (2 * i) & 3 != 0;
            let wanted = kind == 3 || (kind == 1 && access == Access::Write);
            let span = [1, 2, 8, 4][(self.dr[7] >> (18 + 4 * i) & 3) as usize];
            let start = self.dr[i] & !(span - 1);
            let overlaps = start.wrapping_sub(linear) < length || linear.wrapping_sub(start) < span;
            if armed && wanted && overlaps {
                self.debug_hits |= 1 << i;
                self.leave = true;
            }
        }
    }

    // ---- code fetch -----------------------------------------------------------------------------

    /// The RAM page that the linear address's code comes from, or `None` if it is not RAM.
    #[inline(always)]
    pub fn code_page(&mut self, linear: u64) -> Result<Option<u32>, Stop> {
        let entry = self.tlb.views[self.tlb.code & 3].code[slot(linear)];
        let difference = entry.tag ^ (linear & !OFFSET);
        if difference == self.tlb.generation || difference == self.tlb.global {
            return Ok(Some(entry.page));
        }
        self.code_page_slow(linear)
    }

    #[cold]
    fn code_page_slow(&mut self, linear: u64) -> Result<Option<u32>, Stop> {
        let leaf = self.code_leaf(linear)?;
        let Some(page) = self.platform.memory.page_index(leaf.gpa) else { return Ok(None) };
        self.tlb.note_leaf(linear, leaf.size);
        let generation = if leaf.global { self.tlb.global } else { self.tlb.generation };
        let view = self.tlb.code;
        self.tlb.views[view].code[slot(linear)] = CodeEntry { tag: linear & !OFFSET | generation, page };
        Ok(Some(page))
    }

    fn code_leaf(&mut self, linear: u64) -> Result<Leaf, Stop> {
        if self.lma() && !canonical(linear) {
            return Err(self.gp(0));
        }
        let user = self.cpl == 3;
        self.walk(linear, Access::Execute, user, false)
    }

    /// Reads one instruction byte, wherever it lies.
    pub fn fetch_byte(&mut self, linear: u64) -> Result<u8, Stop> {
        let leaf = self.code_leaf(linear)?;
        let mut byte = [0xFF];
        if self.platform.memory.read(leaf.gpa, &mut byte).is_err() {
            byte[0] = self.platform.mmio.read(leaf.gpa, 1) as u8;
        }
        Ok(byte[0])
    }
}

/// Splits `[address, address + length)` into naturally aligned pieces of at most 8 bytes, as
/// (offset, size); an aligned power-of-two access stays whole.
fn bus_pieces(address: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = length - at;
        if left == 0 {
            return None;
        }
        let aligned = 1 << (address + at).trailing_zeros().min(3);
        let mut piece = 8u64.min(aligned);
        while piece > left {
            piece /= 2;
        }
        at += piece;
        Some((at - piece, piece))
    })
}
