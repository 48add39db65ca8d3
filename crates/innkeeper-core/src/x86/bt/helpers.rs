//! What translated code calls: for a memory access that the first-level TLB has no answer to, and for an
//! instruction that is the interpreter's.

use iced_x86::{Code, Decoder};

use super::cache::{Access, BlockId, CodeRange, SiteId};
use super::context::Cpuid;
use super::runtime::{Run, packed};
use super::trace::Reason;
use super::verify;
use crate::exit::Exit;
use crate::memory::PAGE_SIZE;
use crate::x86::attention::WRITTEN;
use crate::x86::block::{self, DECODING};
use crate::x86::cpu::{Cpu, RAX, RCX, RIP, Shadow};
use crate::x86::fault::Stop;
use crate::x86::op::Op;

impl Cpu {
    /// The instruction of a site, for the interpreter.
    fn site_op(&mut self, id: SiteId) -> (Op, u64, BlockId) {
        let cache = &mut self.translator.as_mut().expect("translating").cache;
        let site = &mut cache.sites[id as usize];
        let block = &cache.blocks[site.block as usize];
        let rip = block.key.rip.wrapping_add(u64::from(site.offset));
        if site.op.is_none() {
            let bytes = &block.code[usize::from(site.offset)..][..usize::from(site.length)];
            let instruction = Decoder::with_ip(block.key.mode.bits(), bytes, 0, DECODING).decode();
            let allowed = self.platform.cpuid.allows(instruction.code());
            site.op = Some(Box::new(block::lower(&instruction, allowed)));
        }
        let op = site.op.as_deref().expect("just made").clone();
        (op, rip, site.block)
    }

    /// Executes a site's instruction with the interpreter's handler. Gives where to go on, or 0 to leave.
    fn interpret_site(&mut self, id: SiteId) -> u64 {
        self.save_x87();
        self.unpack_flags();
        self.stats.emulated_instructions.add(1);
        self.note_emulated(id);
        let (op, rip, block) = self.site_op(id);
        let next = rip.wrapping_add(u64::from(op.length));
        self.regs[RIP] = rip;
        if let Err(difference) = self.verify_to(None, verify::reads(op.code)) {
            return self.fail(difference);
        }
        self.regs[RIP] = next;
        self.leave = false;
        let leaf = cpuid_key(self);
        let view = self.tlb.data;
        let result = (op.handler)(self, &op);
        match op.code {
            Code::Cpuid => self.context.cpuid.fill(leaf, &self.regs),
            Code::Wrmsr | Code::Xsetbv => self.context.cpuid = Cpuid::default(),
            _ => {}
        }
        self.verify_behind(op.code);
        let mode = self.translation_mode();
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let expected = cache.blocks[block as usize].key.mode;
        // STAC or CLAC may have changed the view before, but what follows is for the view of now.
        let same = mode.is_some_and(|mode| mode.with_view(view) == expected.with_view(view))
            && self.tlb.data == view;
        if result.is_ok()
            && !self.leave
            && same
            && self.shadow == Shadow::None
            && self.regs[RIP] == next
            && site.next != 0
            && !cache.blocks[block as usize].dead
        {
            let next = cache.address(site.next);
            self.context.host_flags = packed(self.rflags);
            self.verify_from(block);
            return self.going_on(block, next);
        }
        let exit = match result {
            Ok(()) => None,
            Err(stop) => self.stopped(stop, op.length),
        };
        self.finish(exit)
    }

    /// Goes on elsewhere after an instruction, with the debug trap that it may have earned: in other
    /// translated code if nothing is in the way, else by leaving.
    fn finish(&mut self, exit: Option<Exit>) -> u64 {
        if let Err(difference) = self.verify_to(None, 0) {
            return self.fail(difference);
        }
        let exit = match exit {
            None if self.debug_hits != 0 && self.shadow != Shadow::MovSs => self.deliver_debug_trap(),
            exit => exit,
        };
        if self.attention.bits() == WRITTEN {
            self.attention.take(WRITTEN);
            self.forget_written_code();
        }
        let next = if exit.is_none() && !self.stepping() { self.next_block() } else { Err(Run::Again) };
        let exit = match next {
            Ok(block) => {
                self.translator().cache.arrived = None;
                self.arrive(block, false);
                self.verify_from(block);
                self.context.host_flags = packed(self.rflags);
                self.context.vectors_wanted = 0;
                self.context.unpair = 1;
                self.set_unpaired();
                return self.translator().cache.entry(block);
            }
            Err(Run::Exit(exit)) => Some(exit),
            Err(_) => exit,
        };
        self.translator().leaving = exit;
        // `unpack_flags` comes once more on the way out.
        self.context.host_flags = packed(self.rflags);
        0
    }

    /// Leaves translated code for good: it has gone wrong.
    fn fail(&mut self, difference: String) -> u64 {
        self.translator().leaving = Some(Exit::InternalError(difference));
        self.context.host_flags = packed(self.rflags);
        0
    }

    /// What the code at `next` in `block` needs loaded.
    fn going_on(&mut self, block: BlockId, next: u64) -> u64 {
        let block = &self.translator.as_ref().expect("translating").cache.blocks[block as usize];
        let (vector, x87) = (block.vector, block.x87);
        self.context.vectors_wanted = vector.into();
        self.context.unpair = 0;
        if x87 {
            self.load_x87();
        }
        next
    }

    fn quick_fill(&mut self, id: SiteId, linear: u64) -> u64 {
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let retry = cache.address(site.retry);
        let misaligned = linear & u64::from(site.align) != 0;
        let crosses = (linear & (PAGE_SIZE - 1)) + u64::from(site.size) > PAGE_SIZE;
        let write = site.access == Access::Write;
        if misaligned || crosses || !self.fill_from_second_level(linear, write) {
            return 0;
        }
        self.stats.slow_accesses.add(1);
        self.note_at(id, Reason::of_fill(Ok(true), 0));
        retry
    }

    /// The check of a run found no plain RAM.
    fn slow_run(&mut self, id: SiteId, linear: u64, crosses: bool) -> u64 {
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let key = cache.blocks[site.block as usize].key;
        let (block, again, misaligned) =
            (site.block, cache.address(site.retry), linear & u64::from(site.align) != 0);
        let rip = key.rip.wrapping_add(u64::from(site.offset));
        if !crosses && !misaligned {
            match self.fill_first_level(linear, site.access == Access::Write) {
                Ok(true) => return self.going_on(block, again),
                Ok(false) => {}
                // The first access tells which fault it really is. Later the page may be there.
                Err(_) => return self.interpret_site(id),
            }
        }
        self.translator().apart.insert(rip);
        let offset = (rip & (PAGE_SIZE - 1)) as u16;
        self.forget_code(CodeRange { page: key.page, start: offset, end: offset + 1 });
        self.unpack_flags();
        self.regs[RIP] = rip;
        self.finish(None)
    }

    /// Lets translated code write to a page that holds code, once what was made of the bytes is forgotten.
    /// Not where other vCPUs could make more of them meanwhile.
    fn place_beside_code(&mut self, id: SiteId, linear: u64) -> Option<u64> {
        if self.platform.fabric.vcpus() != 1 {
            return None;
        }
        let (page, host) = self.guarded_page(linear)?;
        let site = &self.translator.as_ref().expect("translating").cache.sites[id as usize];
        let (block, size, single, found) = (site.block, site.size, site.single, site.found);
        if found == 0 {
            return None;
        }
        let offset = linear & (PAGE_SIZE - 1);
        // Told before the write: whoever watches the page from then on must know of a writer.
        if self.platform.memory.record_writer(page, self.index) {
            self.tlb.note_reported(page); // a flush of all write access would take longer than the rest
        }
        if self.platform.memory.code_written(page, offset, size.into()) {
            self.attention.take(WRITTEN);
            self.forget_written_code();
            self.attention.hush_alone(self.context.stack_limit);
        }
        let cache = &self.translator.as_ref().expect("translating").cache;
        if cache.blocks[block as usize].dead {
            return None;
        }
        (self.context.r10, self.context.r11) = if single { (host + offset, 0) } else { (offset, host) };
        Some(cache.address(found))
    }

    fn slow_access(&mut self, id: SiteId, linear: u64) -> u64 {
        self.stats.slow_accesses.add(1);
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let (block, retry, write) = (site.block, site.retry, site.access == Access::Write);
        let crosses = (linear & (PAGE_SIZE - 1)) + u64::from(site.size) > PAGE_SIZE;
        if site.run {
            return self.slow_run(id, linear, crosses);
        }
        if linear & u64::from(site.align) != 0 || crosses {
            self.note_at(id, if crosses { Reason::AcrossPages } else { Reason::Misaligned });
            return self.interpret_site(id);
        }
        let again = cache.address(retry);
        let filled = self.fill_first_level(linear, write);
        self.note_at(id, Reason::of_fill(filled, self.fault.vector));
        match filled {
            Ok(true) => self.going_on(block, again),
            Ok(false) => match self.place_beside_code(id, linear) {
                Some(found) => self.going_on(block, found),
                None => self.interpret_site(id),
            },
            Err(stop) => {
                let cache = &self.translator.as_ref().expect("translating").cache;
                let site = &cache.sites[id as usize];
                let rip = cache.blocks[block as usize].key.rip.wrapping_add(u64::from(site.offset));
                self.unpack_flags();
                self.regs[RIP] = rip;
                debug_assert!(stop == Stop::Fault);
                if let Err(difference) = self.verify_to(Some(self.fault), 0) {
                    return self.fail(difference);
                }
                let exit = self.stopped(stop, 0);
                self.finish(exit)
            }
        }
    }
}

/// Leaf and subleaf that CPUID would be asked for.
fn cpuid_key(cpu: &Cpu) -> u64 {
    cpu.regs[RAX] & 0xFFFF_FFFF | cpu.regs[RCX] << 32
}

/// The same if it can be answered from the second level: gives where to try again, else 0.
///
/// # Safety
/// As for [`slow_access`].
pub(super) unsafe extern "sysv64" fn quick_fill(cpu: *mut Cpu, site: u32, linear: u64) -> u64 {
    // SAFETY: as below.
    unsafe { (*cpu).quick_fill(site, linear) }
}

/// A memory access that the first-level TLB has no answer to.
///
/// # Safety
/// For translated code only, with `cpu` being its vCPU.
pub(super) unsafe extern "sysv64" fn slow_access(cpu: *mut Cpu, site: u32, linear: u64) -> u64 {
    // SAFETY: the vCPU is borrowed by `enter`, which waits for translated code.
    unsafe { (*cpu).slow_access(site, linear) }
}

/// An instruction for the interpreter.
///
/// # Safety
/// As for [`slow_access`].
pub(super) unsafe extern "sysv64" fn emulate(cpu: *mut Cpu, site: u32, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { (*cpu).interpret_site(site) }
}

/// Loads the x87 registers; resumes at `next`.
///
/// # Safety
/// As for [`slow_access`].
pub(super) unsafe extern "sysv64" fn load_x87(cpu: *mut Cpu, _: u32, next: u64) -> u64 {
    // SAFETY: as above.
    let cpu = unsafe { &mut *cpu };
    cpu.load_x87();
    cpu.context.vectors_wanted = 0;
    cpu.context.unpair = 0;
    next
}
