//! The software TLB: its entries and how they are forgotten.
//!
//! Entries are tagged: the low 12 bits of a tag name an address-space generation (ours, not the
//! PCID itself), so that flushing an address space is giving it a new number, and PCIDs keep their
//! translations across CR3 loads (Intel SDM vol. 3, 4.10). Entries of global pages carry the global
//! number. Read and write entries lie in separate arrays, so a hit needs no rights check; a write
//! entry exists only once the dirty flag is set and only for pages without decoded code.

use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, cr, flag};
use crate::x86::paging::Leaf;

const ENTRIES: usize = 2048;
pub(in crate::x86) const OFFSET: u64 = PAGE_SIZE - 1;
/// Generation numbers are 12 bits; 0 marks an empty entry.
const LAST_GENERATION: u64 = 0xFFF;

#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    /// Linear page | generation.
    pub(super) tag: u64,
    /// Host address of the page.
    pub(super) host: u64,
}

/// A code translation: where a linear page's bytes are.
#[derive(Clone, Copy, Default)]
pub(super) struct CodeEntry {
    pub(super) tag: u64,
    pub(super) page: u32,
}

/// A leaf of 2 MiB or more, for 2 MiB of linear addresses: a miss there needs no walk.
#[derive(Clone, Copy, Default)]
pub(super) struct Large {
    /// Number of the region, shifted as pages are | generation.
    tag: u64,
    /// Guest-physical address of its first byte.
    gpa: u64,
    size: u64,
    /// It was walked to for a write.
    written: bool,
}

/// Entries for large leaves, for one kind of access right.
const LARGE_ENTRIES: usize = 64;

/// Entries for one kind of access right.
pub(super) struct View {
    pub(super) read: [Entry; ENTRIES],
    pub(super) write: [Entry; ENTRIES],
    /// Writable pages that hold decoded code: found on the slow path only; `host` is the RAM page index.
    pub(super) guarded: [Entry; ENTRIES],
    pub(super) code: [CodeEntry; ENTRIES],
    large: [Large; LARGE_ENTRIES],
}

/// Views that translated code uses: all but `CHECKED`.
pub const VIEWS: usize = 3;

/// Which view data accesses use.
pub(in crate::x86) const SUPERVISOR: usize = 0;
pub(in crate::x86) const USER: usize = 1;
/// Supervisor with SMAP in force.
pub(in crate::x86) const SUPERVISOR_SMAP: usize = 2;
/// Alignment checking in force: never filled, so that each access is checked.
pub(in crate::x86) const CHECKED: usize = 3;

/// The translation caches of one vCPU.
pub struct Tlb {
    pub(super) views: [View; 4],
    /// The view of ordinary data accesses, and that of code and A/D-style supervisor accesses.
    pub(in crate::x86) data: usize,
    pub(super) code: usize,
    pub(super) generation: u64,
    pub(super) global: u64,
    next: u64,
    /// Generation of each PCID; 0 where it has none.
    of_pcid: [u16; 4096],
    /// Which 2 MiB regions, by a hash of their number, have entries made from a larger leaf: INVLPG
    /// there must drop more than one entry.
    large: [u64; 64],
    /// The same for 1 GiB leaves.
    huge: u64,
    /// One more than the number of a page to which no entry gives unreported write access, though the vCPU is
    /// recorded as its writer; 0 for none.
    reported: u64,
}

impl Tlb {
    /// The offset of the number of the view that data accesses use.
    pub const DATA_VIEW: usize = std::mem::offset_of!(Self, data);

    pub fn new() -> Box<Self> {
        // SAFETY: all fields are plain integers, valid as zeroes; built in place for its size. The host gives it
        // memory where it is first written: a vCPU that never runs has next to none.
        let mut tlb: Box<Self> = unsafe { Box::new_zeroed().assume_init() };
        tlb.begin();
        tlb
    }

    /// The vCPU was recorded as a writer of a page just now, for a write that is reported.
    pub fn note_reported(&mut self, page: u32) {
        self.reported = u64::from(page) + 1;
    }

    /// Whether that was so until now, as the vCPU is no longer recorded, or has unreported access from now on.
    pub fn forget_reported(&mut self, page: u32) -> bool {
        let was = self.reported == u64::from(page) + 1;
        if was {
            self.reported = 0;
        }
        was
    }

    /// The first numbers, for a TLB that is empty.
    fn begin(&mut self) {
        (self.global, self.generation, self.next) = (1, 2, 3);
    }

    /// Empties everything.
    fn reset(&mut self) {
        for view in &mut self.views {
            view.read.fill(Entry::default());
            view.write.fill(Entry::default());
            view.guarded.fill(Entry::default());
            view.code.fill(CodeEntry::default());
            view.large.fill(Large::default());
        }
        self.of_pcid.fill(0);
        self.begin();
        (self.large, self.huge) = ([0; 64], 0);
    }

    /// Retires the current address space's entries, and global ones if asked, by renumbering.
    /// Tells whether numbers begin anew.
    fn renumber(&mut self, global_too: bool) -> bool {
        if self.next + 1 > LAST_GENERATION {
            self.reset();
            return true;
        }
        self.generation = self.next;
        self.next += 1;
        if global_too {
            self.global = self.next;
            self.next += 1;
            (self.large, self.huge) = ([0; 64], 0);
        }
        false
    }

    pub(super) fn note_leaf(&mut self, linear: u64, size: u64) {
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

    /// Remembers a large leaf that a data access was walked to.
    pub(super) fn keep_large(&mut self, linear: u64, leaf: &Leaf, write: bool, view: usize) {
        if leaf.size < 2 << 20 {
            return;
        }
        let region = linear >> 21;
        let generation = if leaf.global { self.global } else { self.generation };
        let tag = region << 12 | generation;
        let entry = &mut self.views[view].large[region as usize & (LARGE_ENTRIES - 1)];
        let written = write || (entry.tag == tag && entry.written);
        *entry = Large { tag, gpa: leaf.gpa & !0x1F_FFFF, size: leaf.size, written };
    }

    /// The large leaf of a data access, if it is remembered.
    pub(super) fn large(&self, linear: u64, write: bool, view: usize) -> Option<Leaf> {
        let region = linear >> 21;
        let entry = &self.views[view].large[region as usize & (LARGE_ENTRIES - 1)];
        let difference = entry.tag ^ region << 12;
        let global = difference == self.global;
        let hit = (global || difference == self.generation) && (entry.written || !write);
        hit.then_some(Leaf {
            gpa: entry.gpa | linear & 0x1F_FFFF,
            writable: entry.written,
            user: false,
            executable: false,
            global,
            dirty: entry.written,
            size: entry.size,
        })
    }

    fn in_large_leaf(&self, linear: u64) -> bool {
        let region = linear >> 21;
        self.large[(region >> 6 & 63) as usize] >> (region & 63) & 1 != 0
            || self.huge >> (linear >> 30 & 63) & 1 != 0
    }

    #[inline(always)]
    pub(super) fn hit(entry: Entry, linear: u64, generation: u64, global: u64) -> bool {
        let difference = entry.tag ^ (linear & !OFFSET);
        difference == generation || difference == global
    }
}

#[inline(always)]
pub(super) fn slot(linear: u64) -> usize {
    // Folded, so that arrays a power of two apart do not share slots.
    (linear >> 12 ^ linear >> 23) as usize & (ENTRIES - 1)
}

impl Cpu {
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
        self.context.forget_all();
        self.enter_generation();
        if let Some(translator) = &mut self.translator {
            translator.note_remapped();
        }
        self.leave = true;
    }

    /// Forgets the current address space's translations, but not global ones.
    pub fn flush_address_space(&mut self) {
        self.stats.tlb_flushes.add(1);
        if self.tlb.renumber(false) {
            self.context.forget_all();
        }
        self.remember_pcid();
        self.enter_generation();
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
            self.enter_generation();
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
        self.context.forget_page(linear);
        if let Some(translator) = &mut self.translator {
            translator.note_remapped_page(linear);
        }
        self.leave = true;
    }

    /// Forgets cached write access to RAM, because some page has become a code page, or is watched.
    pub fn flush_write_entries(&mut self) {
        for view in &mut self.tlb.views {
            view.write.fill(Entry::default());
        }
        self.context.forget_writes();
    }

    /// The address space is another one, or to be taken for one.
    fn enter_generation(&mut self) {
        self.context.forget_local();
        self.context.set_generation(self.tlb.generation);
    }

    fn pcid(&self) -> u64 {
        if self.cr4 & cr::CR4_PCIDE != 0 { self.cr3 & 0xFFF } else { 0 }
    }

    fn remember_pcid(&mut self) {
        let pcid = self.pcid() as usize;
        self.tlb.of_pcid[pcid] = self.tlb.generation as u16;
    }
}
