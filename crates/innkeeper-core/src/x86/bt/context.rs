//! What translated code reads and writes beside the architectural registers: the part of `Cpu` that
//! only it and its run-time helpers know. Reached through GS, like all of `Cpu`.

use std::mem::offset_of;

use super::trace::Flight;
use crate::x86::cpu::Cpu;
use crate::x86::mmu::{self, VIEWS};

/// Entries of each first-level TLB array.
pub const TLB_ENTRIES: usize = 4096;
/// Entries of each table of indirect-branch targets.
pub const JUMP_ENTRIES: usize = 2048;
const WORDS: usize = TLB_ENTRIES / 64;

/// A translation that translated code uses with one comparison: `linear ^ tag` is the offset in the
/// page, and so below 4096, if and only if it is a hit.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    pub tag: u64,
    /// Host address of the page.
    pub host: u64,
}

/// One kind of access right. A write entry is there only while the second level has one.
#[repr(C)]
pub struct View {
    pub read: [Entry; TLB_ENTRIES],
    pub write: [Entry; TLB_ENTRIES],
    /// Which slots hold an entry, and which of those one that an address-space change ends.
    filled: [u64; WORDS],
    local: [u64; WORDS],
}

/// Where the translation of a branch's target is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Jump {
    pub rip: u64,
    pub code: u64,
}

/// Branch targets for one view, valid while its mappings and the mode are what they were.
pub struct Jumps {
    pub entries: [Jump; JUMP_ENTRIES],
    /// The mode of the blocks in it.
    pub mode: u8,
    /// The address space of a program's; 0 for the supervisor's, which are for all.
    generation: u64,
    /// It has a supervisor's entry that an address-space change ends.
    local: bool,
    empty: bool,
    /// A hash set of the linear pages that entries lie in.
    pages: [u64; 64],
}

/// Programs' tables: so many address spaces keep theirs.
const PROGRAMS: usize = 8;

/// Every table: one for each of the supervisor's views, and the programs'.
pub struct JumpTables {
    supervisor: [Box<Jumps>; VIEWS],
    programs: Vec<Box<Jumps>>,
    /// The program whose table is in use, and the one whose is given away next.
    current: usize,
    next: usize,
}

/// How often translated code did by itself what is counted elsewhere otherwise.
#[derive(Default)]
#[repr(C)]
pub struct Counts {
    pub interrupt_flag_changes: u64,
    pub cpuids: u64,
}

/// Where a string instruction's registers are meanwhile: the guest's, and the host address to read from.
#[derive(Default)]
#[repr(C)]
pub struct StringRegisters {
    pub rsi: u64,
    pub rdi: u64,
    pub from: u64,
}

/// What CPUID answered last. Forgotten when it could answer otherwise; then it is what it answers to a
/// leaf beyond all others.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cpuid {
    /// Leaf, and subleaf in the upper half.
    pub key: u64,
    /// EAX, ECX, EDX, EBX.
    pub answer: [u32; 4],
}

impl Default for Cpuid {
    fn default() -> Self {
        Self { key: u64::MAX, answer: [0; 4] }
    }
}

impl Cpuid {
    pub fn fill(&mut self, key: u64, regs: &[u64]) {
        *self = Self { key, answer: std::array::from_fn(|number| regs[number] as u32) };
    }
}

#[repr(C, align(64))]
pub struct Context {
    /// Status flags while they are not in host RFLAGS: OF as 0 or 1 in the low byte, LAHF's above.
    pub host_flags: u64,
    /// The host's stack pointer at entry.
    pub host_rsp: u64,
    /// The vCPU itself.
    pub cpu: u64,
    /// The word to compare RSP with: see `Attention`.
    pub doorbell: u64,
    /// The lowest address that translated code may have in the host's stack.
    pub stack_limit: u64,
    /// Where a return leads that no call is known of.
    pub unpaired: u64,
    /// The host's stack is to be emptied of return addresses before going on.
    pub unpair: u64,
    /// Room for RAX while flags move through it, and for a value on its way.
    pub rax: u64,
    pub value: u64,
    /// Where to go on, and with what in R10 and R11.
    pub target: u64,
    pub r10: u64,
    pub r11: u64,
    pub string: StringRegisters,
    /// Vector registers and MXCSR are the guest's in the host's registers.
    pub vectors_loaded: u8,
    /// The code to be resumed needs them there.
    pub vectors_wanted: u8,
    /// The x87 registers are the guest's in the host's.
    pub x87_loaded: u8,
    /// An interrupt was found pending while IF was clear.
    pub irq_waiting: u8,
    /// MXCSR as the host's code expects it.
    pub host_mxcsr: u32,
    pub counts: Counts,
    pub cpuid: Cpuid,
    /// The first entries of the jump tables in use, by view.
    pub jump_bases: [u64; VIEWS],
    pub jumps: JumpTables,
    pub tlb: [View; VIEWS],
    /// Where blocks are counted.
    pub flight: Flight,
}

/// The slot of a page's first-level entries.
pub fn slot(linear: u64) -> usize {
    (linear >> 12) as usize & (TLB_ENTRIES - 1)
}

/// A tag in a slot that no address of that slot matches.
fn no_tag(slot: usize) -> u64 {
    ((slot ^ 1) << 12) as u64
}

/// An address in a jump slot that belongs to another slot: 0 to the first, 1 not.
fn no_rip(slot: usize) -> u64 {
    u64::from(slot == 0)
}

/// What spreads addresses over the jump slots: the top bits of their product with this.
pub const JUMP_HASH: i32 = 0x9E37_79B1_u32 as i32;

impl Default for Context {
    fn default() -> Self {
        let entries = || std::array::from_fn(|slot| Entry { tag: no_tag(slot), host: 0 });
        let view = || View { read: entries(), write: entries(), filled: [0; WORDS], local: [0; WORDS] };
        Self {
            host_flags: 0,
            host_rsp: 0,
            cpu: 0,
            doorbell: 0,
            stack_limit: 0,
            unpaired: 0,
            unpair: 0,
            rax: 0,
            value: 0,
            target: 0,
            r10: 0,
            r11: 0,
            string: StringRegisters::default(),
            vectors_loaded: 0,
            vectors_wanted: 0,
            x87_loaded: 0,
            irq_waiting: 0,
            host_mxcsr: 0x1F80,
            counts: Counts::default(),
            cpuid: Cpuid::default(),
            jump_bases: [0; VIEWS],
            jumps: JumpTables::default(),
            tlb: std::array::from_fn(|_| view()),
            flight: Flight::new(),
        }
    }
}

impl Context {
    /// Enters a translation. `global`: it outlives address-space changes.
    pub fn fill(&mut self, view: usize, linear: u64, host: u64, write: bool, global: bool) {
        let (at, view) = (slot(linear), &mut self.tlb[view]);
        let entry = Entry { tag: linear & !mmu::OFFSET, host };
        if write {
            view.write[at] = entry;
        } else {
            view.read[at] = entry;
        }
        view.filled[at / 64] |= 1 << (at % 64);
        if !global {
            view.local[at / 64] |= 1 << (at % 64);
        }
    }

    /// Forgets what an address-space change ends.
    pub fn forget_local(&mut self) {
        for view in &mut self.tlb {
            view.forget(|view, word| std::mem::take(&mut view.local[word]));
        }
        for jumps in self.jumps.supervisor.iter_mut().filter(|jumps| jumps.local) {
            jumps.clear();
        }
    }

    /// Names the address space that is in force now.
    pub fn set_generation(&mut self, generation: u64) {
        self.jumps.choose(generation);
        self.jump_bases = std::array::from_fn(|view| self.jumps.table(view).entries.as_ptr() as u64);
    }

    /// Forgets every translation of data addresses.
    pub fn forget_entries(&mut self) {
        for view in &mut self.tlb {
            view.forget(|view, word| {
                view.local[word] = 0;
                view.filled[word]
            });
        }
    }

    /// Forgets every translation.
    pub fn forget_all(&mut self) {
        self.forget_entries();
        self.forget_jumps();
    }

    pub fn forget_jumps(&mut self) {
        self.jumps.all().for_each(Jumps::clear);
    }

    /// Forgets one page.
    pub fn forget_page(&mut self, linear: u64) {
        let at = slot(linear);
        for view in &mut self.tlb {
            for entry in [&mut view.read[at], &mut view.write[at]] {
                if (entry.tag ^ linear) & !mmu::OFFSET == 0 {
                    entry.tag = no_tag(at);
                }
            }
        }
        self.jumps.all().filter(|jumps| jumps.has_page(linear)).for_each(Jumps::clear);
    }

    /// Forgets all write access.
    pub fn forget_writes(&mut self) {
        for view in &mut self.tlb {
            for word in 0..WORDS {
                for at in bits(view.filled[word]) {
                    view.write[word * 64 + at].tag = no_tag(word * 64 + at);
                }
            }
        }
    }
}

impl View {
    fn forget(&mut self, mut which: impl FnMut(&mut Self, usize) -> u64) {
        for word in 0..WORDS {
            let slots = which(self, word);
            self.filled[word] &= !slots;
            for at in bits(slots).map(|bit| word * 64 + bit) {
                self.read[at].tag = no_tag(at);
                self.write[at].tag = no_tag(at);
            }
        }
    }
}

impl Default for Jumps {
    fn default() -> Self {
        Self {
            entries: std::array::from_fn(|slot| Jump { rip: no_rip(slot), code: 0 }),
            mode: 0,
            generation: 0,
            local: false,
            empty: true,
            pages: [0; 64],
        }
    }
}

impl Default for JumpTables {
    fn default() -> Self {
        Self { supervisor: Default::default(), programs: vec![Box::default()], current: 0, next: 0 }
    }
}

impl JumpTables {
    /// The table that a view uses.
    pub fn table(&mut self, view: usize) -> &mut Jumps {
        if view == mmu::USER { &mut self.programs[self.current] } else { &mut self.supervisor[view] }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Jumps> {
        self.supervisor.iter_mut().chain(&mut self.programs).map(Box::as_mut)
    }

    /// Takes up the table of an address space, or another's.
    fn choose(&mut self, generation: u64) {
        let known = self.programs.iter().position(|jumps| jumps.generation == generation);
        self.current = known.unwrap_or_else(|| {
            if self.programs.len() < PROGRAMS {
                self.programs.push(Box::default());
                self.next = 0;
                return self.programs.len() - 1;
            }
            self.next = (self.next + 1) % PROGRAMS;
            self.next
        });
        if known.is_none() {
            let jumps = &mut self.programs[self.current];
            jumps.clear();
            jumps.generation = generation;
        }
    }
}

impl Jumps {
    pub fn slot(rip: u64) -> usize {
        ((rip as u32).wrapping_mul(JUMP_HASH as u32) >> (32 - JUMP_ENTRIES.trailing_zeros())) as usize
    }

    /// Enters a target. `global`: it outlives address-space changes.
    pub fn insert(&mut self, rip: u64, code: u64, global: bool) {
        self.entries[Self::slot(rip)] = Jump { rip, code };
        self.empty = false;
        self.local |= !global;
        self.note_page(rip);
    }

    /// An entry depends on the mapping of a page.
    pub fn note_page(&mut self, linear: u64) {
        self.pages[(linear >> 18 & 63) as usize] |= 1 << (linear >> 12 & 63);
    }

    fn has_page(&self, linear: u64) -> bool {
        self.pages[(linear >> 18 & 63) as usize] >> (linear >> 12 & 63) & 1 != 0
    }

    pub fn clear(&mut self) {
        if self.empty {
            return;
        }
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.rip = no_rip(at);
        }
        (self.local, self.empty, self.pages) = (false, true, [0; 64]);
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// The offset in `Cpu` of a field of `Context`.
macro_rules! field {
    ($($field:tt)+) => {
        std::mem::offset_of!($crate::x86::cpu::Cpu, context)
            + std::mem::offset_of!($crate::x86::bt::context::Context, $($field)+)
    };
}
pub(super) use field;

/// The offset in `Cpu` of a general register.
pub fn register(number: usize) -> usize {
    offset_of!(Cpu, regs) + 8 * number
}

/// The offsets in `Cpu` of the first entry's tag for reads or writes of a view.
pub fn tlb_array(view: usize, write: bool) -> usize {
    let array = if write { offset_of!(View, write) } else { offset_of!(View, read) };
    field!(tlb) + view * size_of::<View>() + array
}

/// Bits that a slot's number is shifted left by to be its offset in a jump table.
pub const JUMP_SHIFT: u32 = size_of::<Jump>().trailing_zeros();
/// The offset of the code's address in an entry.
pub const JUMP_CODE: i32 = offset_of!(Jump, code) as i32;

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(entry: Entry, linear: u64) -> bool {
        linear ^ entry.tag < 4096
    }

    #[test]
    fn an_empty_slot_matches_no_address_of_its_own() {
        let mut context = Context::default();
        for linear in [0, 0xFFF, 0x1000, 0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0x40_0000] {
            assert!(!hits(context.tlb[0].read[slot(linear)], linear));
            assert_ne!(context.jumps.table(0).entries[Jumps::slot(linear)].rip, linear);
        }
    }

    #[test]
    fn an_address_space_change_spares_global_pages() {
        let mut context = Context::default();
        context.fill(1, 0x5000, 0x10_0000, true, false);
        context.fill(1, 0x5000, 0x10_0000, false, false);
        context.fill(0, 0xFFFF_8000_0000_7000, 0x20_0000, false, true);
        assert!(hits(context.tlb[1].write[5], 0x5123) && hits(context.tlb[1].read[5], 0x5123));
        context.forget_local();
        assert!(!hits(context.tlb[1].write[5], 0x5123) && !hits(context.tlb[1].read[5], 0x5123));
        let kept = slot(0xFFFF_8000_0000_7000);
        assert!(hits(context.tlb[0].read[kept], 0xFFFF_8000_0000_7FFF));
        context.forget_all();
        assert!(!hits(context.tlb[0].read[kept], 0xFFFF_8000_0000_7FFF));
    }

    #[test]
    fn one_page_and_write_access_are_forgotten_alone() {
        let mut context = Context::default();
        context.fill(0, 0x5000, 0x10_0000, true, true);
        context.fill(0, 0x6000, 0x11_0000, true, true);
        context.fill(0, 0x6000, 0x11_0000, false, true);
        context.jumps.table(0).insert(0x6010, 1, true);
        context.forget_page(0x5010);
        assert!(!hits(context.tlb[0].write[5], 0x5000) && hits(context.tlb[0].write[6], 0x6000));
        assert_eq!(context.jumps.table(0).entries[Jumps::slot(0x6010)].code, 1);
        context.forget_writes();
        assert!(hits(context.tlb[0].read[6], 0x6000) && !hits(context.tlb[0].write[6], 0x6000));
        context.forget_page(0x6000);
        assert_ne!(context.jumps.table(0).entries[Jumps::slot(0x6010)].rip, 0x6010);
    }
}
