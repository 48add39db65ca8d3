//! Linear memory: the software TLB and the accesses that go through it.
//!
//! Entries are tagged: the low 12 bits of a tag name an address-space generation (ours, not the
//! PCID itself), so that flushing an address space is giving it a new number, and PCIDs keep their
//! translations across CR3 loads (Intel SDM vol. 3, 4.10). Entries of global pages carry the global
//! number. Read and write entries lie in separate arrays, so a hit needs no rights check; a write
//! entry exists only once the dirty flag is set and only for pages without decoded code.

mod quick;

use super::cpu::{Cpu, cr, flag};
use super::fault::{Fault, Stop, vector};
use super::op::seg;
use super::paging::{self, Access, Controls, Leaf};
use super::segment as attr;
use super::word::{Int, Word};
use crate::memory::PAGE_SIZE;

const ENTRIES: usize = 2048;
const OFFSET: u64 = PAGE_SIZE - 1;
/// Generation numbers are 12 bits; 0 marks an empty entry.
const LAST_GENERATION: u64 = 0xFFF;

#[derive(Clone, Copy, Default)]
struct Entry {
    /// Linear page | generation.
    tag: u64,
    /// Host address of the page.
    host: u64,
}

/// A code translation: where a linear page's bytes are.
#[derive(Clone, Copy, Default)]
struct CodeEntry {
    tag: u64,
    page: u32,
}

/// Entries for one kind of access right.
struct View {
    read: [Entry; ENTRIES],
    write: [Entry; ENTRIES],
    /// Writable pages that hold decoded code: found on the slow path only; `host` is the RAM page index.
    guarded: [Entry; ENTRIES],
    code: [CodeEntry; ENTRIES],
}

/// Which view data accesses use.
const SUPERVISOR: usize = 0;
const USER: usize = 1;
/// Supervisor with SMAP in force.
const SUPERVISOR_SMAP: usize = 2;
/// Alignment checking in force: never filled, so that each access is checked.
const CHECKED: usize = 3;

/// The translation caches of one vCPU.
pub struct Tlb {
    views: [View; 4],
    /// The view of ordinary data accesses, and that of code and A/D-style supervisor accesses.
    data: usize,
    code: usize,
    generation: u64,
    global: u64,
    next: u64,
    /// Generation of each PCID; 0 where it has none.
    of_pcid: [u16; 4096],
    /// Which 2 MiB regions, by a hash of their number, have entries made from a larger leaf: INVLPG
    /// there must drop more than one entry.
    large: [u64; 64],
    /// The same for 1 GiB leaves.
    huge: u64,
}

impl Tlb {
    pub fn new() -> Box<Self> {
        // SAFETY: all fields are plain integers, valid as zeroes; built in place for its size.
        let mut tlb: Box<Self> = unsafe { Box::new_zeroed().assume_init() };
        tlb.reset();
        tlb
    }

    /// Empties everything.
    fn reset(&mut self) {
        for view in &mut self.views {
            view.read.fill(Entry::default());
            view.write.fill(Entry::default());
            view.guarded.fill(Entry::default());
            view.code.fill(CodeEntry::default());
        }
        self.of_pcid.fill(0);
        (self.global, self.generation, self.next) = (1, 2, 3);
        (self.large, self.huge) = ([0; 64], 0);
    }

    /// Retires the current address space's entries, and global ones if asked, by renumbering.
    fn renumber(&mut self, global_too: bool) {
        if self.next + 1 > LAST_GENERATION {
            return self.reset();
        }
        self.generation = self.next;
        self.next += 1;
        if global_too {
            self.global = self.next;
            self.next += 1;
            (self.large, self.huge) = ([0; 64], 0);
        }
    }

    fn note_leaf(&mut self, linear: u64, size: u64) {
        let region = linear >> 21;
        if size > 4 << 20 {
            self.huge |= 1 << (linear >> 30 & 63);
        } else if size > PAGE_SIZE {
            // A 4 MiB leaf covers two regions.
            for region in [region & !(size >> 22), region | size >> 22] {
                self.large[(region >> 6 & 63) as usize] |= 1 << (region & 63);
            }
        }
    }

    fn in_large_leaf(&self, linear: u64) -> bool {
        let region = linear >> 21;
        self.large[(region >> 6 & 63) as usize] >> (region & 63) & 1 != 0
            || self.huge >> (linear >> 30 & 63) & 1 != 0
    }

    #[inline(always)]
    fn hit(entry: Entry, linear: u64, generation: u64, global: u64) -> bool {
        let difference = entry.tag ^ (linear & !OFFSET);
        difference == generation || difference == global
    }
}

#[inline(always)]
fn slot(linear: u64) -> usize {
    (linear >> 12) as usize & (ENTRIES - 1)
}

/// Where one page's worth of an access leads.
#[derive(Clone, Copy)]
enum Target {
    /// Host address of the byte; `guarded` is the RAM page index if writes must be reported.
    Ram {
        host: *mut u8,
        guarded: Option<u32>,
    },
    /// ROM: reads work, writes are dropped.
    Rom {
        host: *mut u8,
    },
    Device {
        gpa: u64,
    },
}

impl Cpu {
    // ---- the access verbs -----------------------------------------------------------------------

    /// Reads `T` at `segment:offset` with the rights of the current privilege level.
    #[inline(always)]
    pub fn load<T: Word>(&mut self, segment: u8, offset: u64) -> Result<T, Stop> {
        let linear = self.linear::<T>(segment, offset, Access::Read)?;
        let entry = self.tlb.views[self.tlb.data & 3].read[slot(linear)];
        if Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES
        {
            // SAFETY: a read entry maps a whole RAM page of a live mapping, and the access stays in it.
            return Ok(unsafe { ((entry.host + (linear & OFFSET)) as *const T).read_unaligned() });
        }
        self.load_slow(segment, linear, self.tlb.data)
    }

    /// Writes `T` at `segment:offset` with the rights of the current privilege level.
    #[inline(always)]
    pub fn store<T: Word>(&mut self, segment: u8, offset: u64, value: T) -> Result<(), Stop> {
        let linear = self.linear::<T>(segment, offset, Access::Write)?;
        let entry = self.tlb.views[self.tlb.data & 3].write[slot(linear)];
        if Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES
        {
            // SAFETY: a write entry maps a whole writable RAM page, and the access stays in it.
            unsafe { ((entry.host + (linear & OFFSET)) as *mut T).write_unaligned(value) };
            return Ok(());
        }
        self.store_slow(segment, linear, value.as_bytes(), self.tlb.data)
    }

    /// Reads, changes and writes back; atomically on RAM if `locked`. `change` may run more than once.
    /// Gives the value before.
    #[inline(always)]
    pub fn modify<T: Int>(
        &mut self,
        segment: u8,
        offset: u64,
        locked: bool,
        mut change: impl FnMut(T) -> T,
    ) -> Result<T, Stop> {
        let linear = self.linear::<T>(segment, offset, Access::Write)?;
        let entry = self.tlb.views[self.tlb.data & 3].write[slot(linear)];
        let whole = linear & OFFSET <= PAGE_SIZE - T::BYTES;
        if whole && Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global) {
            let pointer = (entry.host + (linear & OFFSET)) as *mut T;
            // SAFETY: a write entry maps a whole writable RAM page, and the access stays in it.
            return Ok(unsafe { modify_ram(pointer, locked, change) });
        }
        self.modify_slow(segment, linear, locked, &mut change)
    }

    /// Checks that `length` bytes at `segment:offset` can be written, without writing: for
    /// instructions that must fault before they change anything.
    pub fn probe_write(&mut self, segment: u8, offset: u64, length: u64) -> Result<(), Stop> {
        let linear = self.linear_checked(segment, offset, length, Access::Write)?;
        self.spans(segment, linear, length, Access::Write, self.tlb.data)?;
        Ok(())
    }

    /// Reads at a linear address with supervisor rights, whatever the CPL: descriptor tables and TSS.
    pub fn load_system<T: Word>(&mut self, linear: u64) -> Result<T, Stop> {
        let linear = self.wrap(linear);
        let entry = self.tlb.views[SUPERVISOR].read[slot(linear)];
        if Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES
        {
            // SAFETY: a read entry maps a whole RAM page of a live mapping, and the access stays in it.
            return Ok(unsafe { ((entry.host + (linear & OFFSET)) as *const T).read_unaligned() });
        }
        self.load_slow(seg::DS, linear, SUPERVISOR)
    }

    pub fn store_system<T: Word>(&mut self, linear: u64, value: T) -> Result<(), Stop> {
        self.store_slow(seg::DS, self.wrap(linear), value.as_bytes(), SUPERVISOR)
    }

    /// Writes part of a stack frame at a linear address, with the rights of the level that the stack
    /// belongs to.
    pub fn store_frame<T: Word>(&mut self, linear: u64, value: T, user: bool) -> Result<(), Stop> {
        let linear = self.wrap(linear);
        let view = match user {
            true if self.tlb.data == CHECKED => CHECKED,
            true => USER,
            false => SUPERVISOR,
        };
        let entry = self.tlb.views[view].write[slot(linear)];
        if Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES
        {
            // SAFETY: a write entry maps a whole writable RAM page, and the access stays in it.
            unsafe { ((entry.host + (linear & OFFSET)) as *mut T).write_unaligned(value) };
            return Ok(());
        }
        self.store_slow(seg::SS, linear, value.as_bytes(), view)
    }

    /// A host pointer to up to `wanted` bytes at `segment:offset` within one RAM page, for string
    /// instructions; `None` where the bytes must go one element at a time (device, code page, watched).
    pub fn run_of_bytes(
        &mut self,
        segment: u8,
        offset: u64,
        wanted: u64,
        access: Access,
    ) -> Result<Option<(*mut u8, u64)>, Stop> {
        if self.tlb.data == CHECKED || wanted == 0 {
            return Ok(None);
        }
        let linear = self.linear_checked(segment, offset, 1, access)?;
        let room = wanted.min(PAGE_SIZE - (linear & OFFSET));
        if !self.long && self.linear_checked(segment, offset, room, access).is_err() {
            return Ok(None);
        }
        let entry = self.data_entry(linear, access);
        let entry = match Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global) {
            true => entry,
            false => {
                if self.lma() && !canonical(linear) {
                    return Err(self.segment_fault(segment));
                }
                self.translate(segment, linear, access, self.tlb.data)?;
                self.data_entry(linear, access)
            }
        };
        let hit = Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global);
        Ok(hit.then(|| ((entry.host + (linear & OFFSET)) as *mut u8, room)))
    }

    fn data_entry(&self, linear: u64, access: Access) -> Entry {
        let view = &self.tlb.views[self.tlb.data & 3];
        if access == Access::Write { view.write[slot(linear)] } else { view.read[slot(linear)] }
    }

    // ---- segmentation ---------------------------------------------------------------------------

    #[inline(always)]
    fn linear<T: Word>(&mut self, segment: u8, offset: u64, access: Access) -> Result<u64, Stop> {
        if self.long {
            // Canonical form is checked on the slow path: no entry has a non-canonical tag.
            return Ok(self.bases[usize::from(segment & 7)].wrapping_add(offset));
        }
        self.linear_checked(segment, offset, T::BYTES, access)
    }

    /// The linear address of `segment:offset`, with the checks of Intel SDM vol. 3, 5.3.
    pub fn linear_checked(
        &mut self,
        segment: u8,
        offset: u64,
        length: u64,
        access: Access,
    ) -> Result<u64, Stop> {
        if self.long {
            return Ok(self.bases[usize::from(segment & 7)].wrapping_add(offset));
        }
        let hidden = self.segments[segment as usize];
        let last = offset.wrapping_add(length - 1);
        let limit = u64::from(hidden.limit);
        let expand_down = !hidden.has(attr::CODE) && hidden.has(attr::EXPAND_DOWN);
        let inside = if expand_down {
            let top = if hidden.has(attr::BIG) { 0xFFFF_FFFF } else { 0xFFFF };
            offset > limit && last <= top
        } else {
            // A 4 GiB segment has no end: accesses wrap around (processors may choose, vol. 3, 5.3).
            last <= limit || hidden.limit == u32::MAX
        };
        let allowed = match access {
            Access::Read => !hidden.has(attr::CODE) || hidden.has(attr::WRITABLE),
            Access::Write => !hidden.has(attr::CODE) && hidden.has(attr::WRITABLE),
            Access::Execute => true,
        };
        // Real and virtual-8086 mode check only the limit (and there the rights are always good).
        if !inside || (self.protected && (hidden.has(attr::UNUSABLE) || !allowed)) {
            return Err(self.segment_fault(segment));
        }
        Ok(hidden.base.wrapping_add(offset) & 0xFFFF_FFFF)
    }

    fn segment_fault(&mut self, segment: u8) -> Stop {
        self.raise(if segment == seg::SS { vector::SS } else { vector::GP }, 0)
    }

    fn wrap(&self, linear: u64) -> u64 {
        if self.lma() { linear } else { linear & 0xFFFF_FFFF }
    }

    // ---- slow paths -----------------------------------------------------------------------------

    #[cold]
    #[inline(never)]
    fn load_slow<T: Word>(&mut self, segment: u8, linear: u64, view: usize) -> Result<T, Stop> {
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
    fn store_slow(&mut self, segment: u8, linear: u64, bytes: &[u8], view: usize) -> Result<(), Stop> {
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
    fn modify_slow<T: Int>(
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

    fn check_alignment<T: Word>(&mut self, linear: u64, view: usize) -> Result<(), Stop> {
        if view == CHECKED && T::BYTES.is_power_of_two() && T::BYTES <= 8 && linear & (T::BYTES - 1) != 0 {
            return Err(self.raise(vector::AC, 0));
        }
        Ok(())
    }

    /// Translates an access of up to 32 bytes (more if only probing), which may touch two pages.
    fn spans(
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
        let low = self.translate(segment, linear, access, view)?;
        if first == length {
            return Ok([Some((low, first)), None]);
        }
        let next = linear.wrapping_add(first);
        let next = if self.long || linear > 0xFFFF_FFFF { next } else { next & 0xFFFF_FFFF };
        let high = self.translate(segment, next, access, view)?;
        Ok([Some((low, first)), Some((high, length - first))])
    }

    /// Finds or makes the translation of one linear address, filling the caches.
    fn translate(&mut self, _segment: u8, linear: u64, access: Access, view: usize) -> Result<Target, Stop> {
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
            return Ok(Target::Ram { host, guarded: Some(page) });
        }
        let user = view == USER || view == CHECKED;
        let implicit = view == SUPERVISOR && self.tlb.data == SUPERVISOR_SMAP;
        let leaf = self.walk(linear, access, user, implicit)?;
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
        let has_code = memory.has_code(page);
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
        match (read_only, has_code && access == Access::Write) {
            (true, _) => Target::Rom { host },
            (false, guarded) => Target::Ram { host, guarded: guarded.then_some(page) },
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
                    self.stats.page_faults.add(1);
                    self.fault = Fault { vector: vector::PF, error, address: linear };
                    return Err(Stop::Fault);
                }
            }
        }
    }

    fn controls(&self) -> Controls {
        let &Self { cr0, cr3, cr4, efer, rflags, pdptes, .. } = self;
        Controls { cr0, cr3, cr4, efer, rflags, pdptes }
    }

    fn copy_in(&mut self, target: Target, out: &mut [u8]) {
        match target {
            // SAFETY: the target is that many bytes of one RAM page.
            Target::Ram { host, .. } | Target::Rom { host } => unsafe {
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
            Target::Rom { .. } => {}
            Target::Device { gpa } => self.device_write(gpa, bytes),
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
        self.dr[7] & 0xFF != 0
            && (0..4).any(|i| {
                let data = self.dr[7] >> (16 + 4 * i) & 1 != 0; // types 01 (write) and 11 (read or write)
                let armed = self.dr[7] >> (2 * i) & 3 != 0;
                armed && data && (self.dr[i] ^ linear) & !OFFSET == 0
            })
    }

    /// Records data breakpoints that an access hits; #DB is reported behind the instruction.
    fn note_data_access(&mut self, linear: u64, length: u64, access: Access) {
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

    // ---- invalidation ---------------------------------------------------------------------------

    /// Chooses the views that the current mode uses. Called by `refresh_mode`, and by whatever
    /// changes RFLAGS.AC.
    pub fn refresh_tlb_view(&mut self) {
        let (user, ac) = (self.cpl == 3, self.has_flag(flag::AC));
        self.tlb.code = usize::from(user);
        self.tlb.data = match () {
            () if user && ac && self.cr0 & cr::CR0_AM != 0 => CHECKED,
            () if user => USER,
            () if self.cr4 & cr::CR4_SMAP != 0 && !ac => SUPERVISOR_SMAP,
            () => SUPERVISOR,
        };
    }

    /// Forgets every translation, global ones too.
    pub fn flush_tlb(&mut self) {
        self.stats.tlb_flushes.add(1);
        self.tlb.of_pcid.fill(0);
        self.tlb.renumber(true);
        self.remember_pcid();
        self.leave = true;
    }

    /// Forgets the current address space's translations, but not global ones.
    pub fn flush_address_space(&mut self) {
        self.stats.tlb_flushes.add(1);
        self.tlb.renumber(false);
        self.remember_pcid();
        self.leave = true;
    }

    /// Forgets all but global translations, of every PCID.
    pub fn flush_all_but_global(&mut self) {
        self.tlb.of_pcid.fill(0);
        self.flush_address_space();
    }

    /// Forgets the non-global translations of one PCID.
    pub fn flush_pcid(&mut self, pcid: u16) {
        if u64::from(pcid) == self.pcid() {
            self.flush_address_space();
        } else {
            self.tlb.of_pcid[usize::from(pcid)] = 0;
        }
    }

    /// After CR3 was loaded: enters its address space, keeping its translations if `keep` (bit 63 of
    /// the source, with CR4.PCIDE).
    pub fn switch_address_space(&mut self, keep: bool) {
        let known = u64::from(self.tlb.of_pcid[self.pcid() as usize]);
        if keep && known != 0 {
            self.stats.tlb_switches.add(1);
            self.tlb.generation = known;
            self.leave = true;
        } else {
            self.flush_address_space();
        }
    }

    /// INVLPG: forgets one page in the current address space, global or not.
    pub fn flush_page(&mut self, linear: u64) {
        if self.tlb.in_large_leaf(linear) {
            // The page may be one of many entries made from a large leaf.
            return self.flush_tlb();
        }
        self.stats.tlb_page_flushes.add(1);
        let at = slot(linear);
        for view in &mut self.tlb.views {
            for entries in [&mut view.read, &mut view.write, &mut view.guarded] {
                if (entries[at].tag ^ linear) & !OFFSET == 0 {
                    entries[at] = Entry::default();
                }
            }
            if (view.code[at].tag ^ linear) & !OFFSET == 0 {
                view.code[at] = CodeEntry::default();
            }
        }
        self.leave = true;
    }

    /// Forgets cached write access to RAM, because some page has become a code page.
    pub fn flush_write_entries(&mut self) {
        for view in &mut self.tlb.views {
            view.write.fill(Entry::default());
        }
    }

    fn pcid(&self) -> u64 {
        if self.cr4 & cr::CR4_PCIDE != 0 { self.cr3 & 0xFFF } else { 0 }
    }

    fn remember_pcid(&mut self) {
        let pcid = self.pcid() as usize;
        self.tlb.of_pcid[pcid] = self.tlb.generation as u16;
    }
}

/// Reads, changes and writes RAM.
///
/// # Safety
/// `pointer` must be valid for reads and writes of `T` (unaligned allowed).
#[inline(always)]
unsafe fn modify_ram<T: Int>(pointer: *mut T, locked: bool, mut change: impl FnMut(T) -> T) -> T {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        let mut before = pointer.read_unaligned();
        if !locked {
            pointer.write_unaligned(change(before));
            return before;
        }
        loop {
            let found = T::compare_exchange(pointer, before, change(before));
            if found == before {
                return before;
            }
            before = found;
        }
    }
}

/// Whether bits 63:47 are all equal.
pub fn canonical(linear: u64) -> bool {
    (linear as i64) << 16 >> 16 == linear as i64
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
