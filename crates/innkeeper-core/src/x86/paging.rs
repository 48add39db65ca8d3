//! The guest's page tables, walked as the processor walks them.
//!
//! Source: Intel SDM vol. 3, 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level), 4.6 (access rights), 4.7 (page-fault
//! error code), 4.8 (accessed and dirty flags). Left out: 5-level paging, protection keys.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::cpu::{cr, flag};
use crate::memory::GuestMemory;

/// Width of guest-physical addresses that CPUID 8000_0008H reports.
pub const PHYSICAL_BITS: u32 = 40;

// 63 XD │ 62…52 ignored │ 51…12 frame │ 11…9 ignored │ 8 G │ 7 PS │ 6 D │ 5 A │ 4 PCD │ 3 PWT │ 2 U │ 1 W │ 0 P
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000F_FFFF_FFFF_F000;

/// Page-fault error-code bits.
pub mod error {
    pub const PRESENT: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const USER: u32 = 4;
    pub const RESERVED: u32 = 8;
    pub const FETCH: u32 = 16;
}

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// The control state that a walk depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Controls {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub rflags: u64,
    pub pdptes: [u64; 4],
}

/// Where a linear address leads. Rights are those of the whole walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub gpa: u64,
    pub writable: bool,
    pub user: bool,
    pub executable: bool,
    pub global: bool,
    pub dirty: bool,
    /// Bytes mapped by the leaf: 4 KiB, 2 MiB, 4 MiB or 1 GiB.
    pub size: u64,
}

/// A table entry with the place to set its A and D flags.
#[derive(Clone, Copy)]
struct Entry {
    value: u64,
    gpa: u64,
    wide: bool,
}

struct Walk<'a> {
    memory: &'a GuestMemory,
    controls: &'a Controls,
    access: Access,
    user: bool,
}

/// Walks to `linear` for an access at user or supervisor privilege, setting A and D flags.
///
/// # Errors
/// The page-fault error code.
pub fn walk(
    memory: &GuestMemory,
    controls: &Controls,
    linear: u64,
    access: Access,
    user: bool,
) -> Result<Leaf, u32> {
    if controls.cr0 & cr::CR0_PG == 0 {
        let gpa = linear & 0xFFFF_FFFF;
        return Ok(Leaf {
            gpa,
            writable: true,
            user: true,
            executable: true,
            global: true, // whatever is in CR3; turning paging on forgets it
            dirty: true,
            size: 4096,
        });
    }
    let walk = Walk { memory, controls, access, user };
    match (controls.cr4 & cr::CR4_PAE != 0, controls.efer & cr::EFER_LMA != 0) {
        (false, _) => walk.two_level(linear as u32),
        (true, false) => walk.pae(linear as u32),
        (true, true) => walk.tree(controls.cr3 & FRAME, linear, 39, &[]),
    }
}

impl Walk<'_> {
    fn error(&self, bits: u32) -> u32 {
        let fetch_reported = self.controls.cr4 & cr::CR4_SMEP != 0
            || (self.controls.cr4 & cr::CR4_PAE != 0 && self.controls.efer & cr::EFER_NXE != 0);
        let access = match self.access {
            Access::Read => 0,
            Access::Write => error::WRITE,
            Access::Execute if fetch_reported => error::FETCH,
            Access::Execute => 0,
        };
        bits | access | if self.user { error::USER } else { 0 }
    }

    fn entry(&self, gpa: u64, wide: bool) -> Entry {
        let mut bytes = [0xFF; 8];
        // Tables outside RAM read as a floating bus: all ones, which the reserved-bit check refuses.
        let _ = if wide { self.memory.read(gpa, &mut bytes) } else { self.memory.read(gpa, &mut bytes[..4]) };
        let value = u64::from_le_bytes(bytes);
        Entry { value: if wide { value } else { value & 0xFFFF_FFFF }, gpa, wide }
    }

    /// 32-bit paging, with 4 MiB pages under CR4.PSE (PSE-36 for the frame's upper bits).
    fn two_level(&self, linear: u32) -> Result<Leaf, u32> {
        let linear = u64::from(linear);
        let pde = self.entry(self.controls.cr3 & 0xFFFF_F000 | linear >> 20 & 0xFFC, false);
        self.present(pde)?;
        if pde.value & LARGE != 0 && self.controls.cr4 & cr::CR4_PSE != 0 {
            if pde.value & 1 << 21 != 0 {
                return Err(self.error(error::PRESENT | error::RESERVED));
            }
            let frame = pde.value & 0xFFC0_0000 | (pde.value >> 13 & 0xFF) << 32;
            return self.leaf(&[], pde, frame & ((1 << PHYSICAL_BITS) - 1) | linear & 0x3F_FFFF, 4 << 20);
        }
        let pte = self.entry(pde.value & 0xFFFF_F000 | linear >> 10 & 0xFFC, false);
        self.present(pte)?;
        self.leaf(&[pde], pte, pte.value & 0xFFFF_F000 | linear & 0xFFF, 4096)
    }

    fn pae(&self, linear: u32) -> Result<Leaf, u32> {
        let pdpte = self.controls.pdptes[(linear >> 30) as usize];
        if pdpte & PRESENT == 0 {
            return Err(self.error(0));
        }
        self.tree(pdpte & FRAME, u64::from(linear), 21, &[])
    }

    /// The radix-512 levels from the table at `table`, whose index starts at bit `shift`.
    fn tree(&self, table: u64, linear: u64, shift: u32, above: &[Entry]) -> Result<Leaf, u32> {
        let entry = self.entry(table | (linear >> shift & 0x1FF) << 3, true);
        self.present(entry)?;
        let large = entry.value & LARGE != 0 && (shift == 21 || shift == 30);
        let mut reserved = FRAME & !((1 << PHYSICAL_BITS) - 1);
        if self.controls.efer & cr::EFER_NXE == 0 {
            reserved |= NO_EXECUTE;
        }
        if self.controls.efer & cr::EFER_LMA == 0 {
            reserved |= 0x7FF0_0000_0000_0000; // PAE: bits 62:52 are reserved
        }
        if large {
            reserved |= ((1 << shift) - 1) & !0x1FFF; // bit 12 is PAT
        } else if shift == 39 {
            reserved |= LARGE;
        }
        if entry.value & reserved != 0 {
            return Err(self.error(error::PRESENT | error::RESERVED));
        }
        if shift == 12 || large {
            let size = 1 << shift;
            return self.leaf(above, entry, entry.value & FRAME & !(size - 1) | linear & (size - 1), size);
        }
        let mut path = [entry; 4];
        path[..above.len()].copy_from_slice(above);
        path[above.len()] = entry;
        self.tree(entry.value & FRAME, linear, shift - 9, &path[..=above.len()])
    }

    fn present(&self, entry: Entry) -> Result<(), u32> {
        if entry.value & PRESENT == 0 { Err(self.error(0)) } else { Ok(()) }
    }

    /// Checks rights over the whole walk, then sets A on every entry and D on the leaf for a write.
    fn leaf(&self, above: &[Entry], leaf: Entry, gpa: u64, size: u64) -> Result<Leaf, u32> {
        let all = above.iter().fold(leaf.value, |rights, entry| rights & entry.value);
        let any = above.iter().fold(leaf.value, |rights, entry| rights | entry.value);
        let (writable, user) = (all & WRITABLE != 0, all & USER != 0);
        // Without NXE bit 63 was refused as reserved, and 32-bit entries have none.
        let executable = any & NO_EXECUTE == 0;
        let Controls { cr0, cr4, rflags, .. } = *self.controls;
        let smap = cr4 & cr::CR4_SMAP != 0 && !self.user && rflags & flag::AC == 0;
        let allowed = match self.access {
            _ if self.user && !user => false,
            Access::Read => !(smap && user),
            Access::Write if smap && user => false,
            Access::Write => writable || (!self.user && cr0 & cr::CR0_WP == 0),
            Access::Execute if !self.user && user && cr4 & cr::CR4_SMEP != 0 => false,
            Access::Execute => executable,
        };
        if !allowed {
            return Err(self.error(error::PRESENT));
        }
        let mut changed = false;
        for entry in above {
            changed |= !self.mark(*entry, ACCESSED);
        }
        let write = self.access == Access::Write;
        changed |= !self.mark(leaf, if write { ACCESSED | DIRTY } else { ACCESSED });
        if changed {
            // Another processor changed an entry between our read and our update of it: walk again.
            return Err(RETRY);
        }
        let (global, dirty) =
            (leaf.value & GLOBAL != 0 && cr4 & cr::CR4_PGE != 0, write || leaf.value & DIRTY != 0);
        Ok(Leaf { gpa, writable, user, executable, global, dirty, size })
    }

    /// Sets flags in an entry if it is still what was read. Tells whether it was.
    fn mark(&self, entry: Entry, flags: u64) -> bool {
        if entry.value & flags == flags {
            return true;
        }
        let Some(page) = self.memory.page_index(entry.gpa) else { return true };
        // SAFETY: the entry lies in this RAM page, naturally aligned.
        let pointer = unsafe { self.memory.page_pointer(page).add((entry.gpa & 0xFFF) as usize) };
        let (old, new) = (entry.value, entry.value | flags);
        if entry.wide {
            // SAFETY: aligned, in RAM, and shared memory by nature.
            let cell = unsafe { AtomicU64::from_ptr(pointer.cast()) };
            cell.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        } else {
            // SAFETY: as above.
            let cell = unsafe { AtomicU32::from_ptr(pointer.cast()) };
            cell.compare_exchange(old as u32, new as u32, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }
    }
}

/// Not an error code of hardware: the walk raced with another processor and is to be repeated.
pub const RETRY: u32 = 1 << 31;
