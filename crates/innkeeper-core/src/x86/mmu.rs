//! Linear memory: the accesses that handlers make, through segmentation and the software TLB.

mod first;
mod quick;
mod slow;
mod tlb;

use super::cpu::{Cpu, cr, flag};
use super::fault::{Stop, vector};
use super::op::seg;
use super::paging::Access;
use super::segment as attr;
use super::word::{Int, Word};
use crate::memory::PAGE_SIZE;
pub(super) use tlb::{CHECKED, OFFSET, SUPERVISOR, SUPERVISOR_SMAP, USER};
use tlb::{Entry, slot};
pub use tlb::{Tlb, VIEWS};

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
        let (linear, view) = (self.wrap(linear), self.system_view());
        let entry = self.tlb.views[view].read[slot(linear)];
        if Tlb::hit(entry, linear, self.tlb.generation, self.tlb.global)
            && linear & OFFSET <= PAGE_SIZE - T::BYTES
        {
            // SAFETY: a read entry maps a whole RAM page of a live mapping, and the access stays in it.
            return Ok(unsafe { ((entry.host + (linear & OFFSET)) as *const T).read_unaligned() });
        }
        self.load_slow(seg::DS, linear, view)
    }

    pub fn store_system<T: Word>(&mut self, linear: u64, value: T) -> Result<(), Stop> {
        self.store_slow(seg::DS, self.wrap(linear), value.as_bytes(), self.system_view())
    }

    /// SMAP does not spare implicit accesses, whatever RFLAGS.AC (Intel SDM vol. 3, 4.6.1).
    fn system_view(&self) -> usize {
        if self.cr4 & cr::CR4_SMAP != 0 { SUPERVISOR_SMAP } else { SUPERVISOR }
    }

    /// Writes part of a stack frame at a linear address, with the rights of the level that the stack
    /// belongs to.
    pub fn store_frame<T: Word>(&mut self, linear: u64, value: T, user: bool) -> Result<(), Stop> {
        let linear = self.wrap(linear);
        let view = match user {
            true if self.tlb.data == CHECKED => CHECKED,
            true => USER,
            false if self.has_flag(flag::AC) => SUPERVISOR,
            false => self.system_view(),
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
                self.translate(linear, access, self.tlb.data)?;
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
