//! The loop that enters translated code, and the helpers that translated code calls.

use core::arch::asm;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use iced_x86::{Code, Decoder, Encoder};

use super::cache::{Access, CodeRange, BlockId, Cache, Key, SiteId};
use super::context::{Cpuid, Jumps};
use super::trace::{Reason, Tracer};
use super::translate::{Source, translate};
use crate::exit::Exit;
use crate::memory::{CodeWrites, PAGE_SIZE};
use crate::x86::attention::WRITTEN;
use crate::x86::block::{self, DECODING};
use crate::x86::cpu::{Cpu, RAX, RCX, RIP, Shadow, cr, flag};
use crate::x86::fault::Stop;
use crate::x86::op::Op;

/// What `enter` returns for an indirect branch whose target is RIP; else it is 0, everything being
/// done, or the exit taken.
pub const INDIRECT: u32 = u32::MAX;
/// Marks an exit that led to where RIP already is.
pub const THROUGH: u32 = 1 << 29;
/// What translated code may use of the host's stack, for return addresses: helpers need the rest.
const STACK_BYTES: u64 = 64 << 10;
/// Marks an exit that was taken because a poll found attention wanted.
pub const POLL: u32 = 1 << 30;

/// How an engine translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of code cache, for each vCPU.
    pub code_cache_bytes: usize,
    /// Count executions of blocks.
    pub counting: bool,
    /// Keep status flags exact even where nobody can read them: for comparing with the interpreter.
    pub exact_flags: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { code_cache_bytes: 64 << 20, counting: false, exact_flags: false }
    }
}

/// Why this host cannot run translated code, if so.
pub fn unavailable() -> Option<String> {
    const FSGSBASE: u64 = 2;
    // SAFETY: a plain look-up in the process's auxiliary vector.
    let allowed = unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE != 0;
    if !allowed {
        return Some("the host's kernel does not let programs set the GS base (FSGSBASE)".into());
    }
    (!std::arch::is_x86_feature_detected!("avx")).then(|| "the host's processor has no AVX".into())
}

/// One vCPU's translator.
pub struct Translator {
    pub(super) cache: Cache,
    pub(super) encoder: Option<Encoder>,
    /// Memory for the code of the next block.
    pub(super) spare: (Vec<u8>, Vec<u8>),
    pub(super) exact_flags: bool,
    pub(super) flag_returns: FlagReturns,
    pub(super) tracer: Option<Tracer>,
    /// Addresses of instructions whose accesses are checked one by one.
    apart: HashSet<u64>,
    writes: Arc<CodeWrites>,
    /// What the machine is to be told, from within a helper.
    leaving: Option<Exit>,
    /// All translations that cross pages are to be looked at again; or those into some pages.
    remapped: bool,
    remapped_pages: Vec<u64>,
    assumed: Assumed,
}

/// What all translations take for granted, because it hardly ever changes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Assumed {
    /// The guest uses SMAP.
    pub smap: bool,
    /// RDTSC is allowed to programs.
    pub tsc_free: bool,
    /// IA32_TSC's distance from the host's counter.
    pub tsc_offset: u64,
    /// Programs may set the bases of FS and GS.
    pub bases: bool,
    pub flag_returns: usize,
}

/// Where functions return something in status flags, against every calling convention: code was seen
/// that calls them and then looks at flags.
#[derive(Default)]
pub(super) struct FlagReturns {
    /// Linear pages that such functions lie in.
    pages: HashSet<u64>,
    /// One was called indirectly: it may be anywhere.
    anywhere: bool,
}

impl FlagReturns {
    pub fn add(&mut self, callee: Option<u64>) {
        match callee {
            Some(rip) => drop(self.pages.insert(rip >> 12)),
            None => self.anywhere = true,
        }
    }

    pub fn covers(&self, rip: u64) -> bool {
        self.anywhere || self.pages.contains(&(rip >> 12))
    }

    /// Grows with what it covers.
    fn count(&self) -> usize {
        self.pages.len() + usize::from(self.anywhere)
    }
}

impl Translator {
    /// # Errors
    /// The host refuses memory for code.
    pub fn new(settings: Settings, writes: Arc<CodeWrites>) -> io::Result<Self> {
        Ok(Self {
            cache: Cache::new(settings.code_cache_bytes)?,
            encoder: None,
            spare: Default::default(),
            exact_flags: settings.exact_flags,
            flag_returns: FlagReturns::default(),
            tracer: settings.counting.then(Tracer::default),
            apart: HashSet::new(),
            writes,
            leaving: None,
            remapped: false,
            remapped_pages: Vec::new(),
            assumed: Assumed::default(),
        })
    }

    pub(super) fn is_apart(&self, rip: u64) -> bool {
        self.apart.contains(&rip)
    }

    /// Every mapping may have changed.
    pub fn note_remapped(&mut self) {
        self.remapped = true;
    }

    /// The mapping of one page may have changed.
    pub fn note_remapped_page(&mut self, linear: u64) {
        if self.cache.is_chained_across(linear >> 12).is_some() {
            self.remapped_pages.push(linear >> 12);
        }
    }
}

/// What became of an attempt to run translated code.
pub enum Run {
    /// Look for attention, and go on.
    Again,
    /// The next instructions are the interpreter's.
    Interpret,
    Exit(Exit),
}

/// Points GS at the vCPU while it lives.
pub struct GsBase(u64);

impl GsBase {
    pub fn set(cpu: &mut Cpu) -> Self {
        let before;
        cpu.context.cpu = std::ptr::from_mut(cpu) as u64;
        cpu.context.doorbell = cpu.attention.doorbell() as u64;
        // SAFETY: the host was found to allow these; nothing else in this thread uses GS.
        unsafe {
            asm!("rdgsbase {}", out(reg) before, options(nostack, preserves_flags));
            asm!("wrgsbase {}", in(reg) cpu.context.cpu, options(nostack, preserves_flags));
        }
        Self(before)
    }
}

impl Drop for GsBase {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { asm!("wrgsbase {}", in(reg) self.0, options(nostack, preserves_flags)) };
    }
}

impl Cpu {
    fn translator(&mut self) -> &mut Translator {
        self.translator.as_mut().expect("only vCPUs that translate get here")
    }

    /// Runs translated code from RIP until something is to be decided.
    pub(in crate::x86) fn run_translated(&mut self) -> Run {
        self.context.stack_limit = std::ptr::from_ref(&self).addr() as u64 - STACK_BYTES;
        self.translator().cache.arrived = None;
        let mut indirect = false;
        loop {
            let block = match self.next_block() {
                Ok(block) => block,
                Err(run) => return run,
            };
            self.arrive(block, indirect);
            let code = self.translator().cache.entry(block);
            let taken = self.enter(code);
            indirect = taken == INDIRECT;
            match taken {
                0 => return self.translator().leaving.take().map_or(Run::Again, Run::Exit),
                INDIRECT => self.note_indirect(),
                _ => {
                    let id = taken & !(POLL | THROUGH);
                    self.note_exit(id, taken & POLL != 0);
                    indirect = taken & THROUGH != 0;
                    if !indirect {
                        self.regs[RIP] = self.translator().cache.exits[id as usize].target;
                    }
                    if taken & POLL != 0 {
                        return Run::Again;
                    }
                    self.translator().cache.arrived = Some(id);
                }
            }
        }
    }

    /// The translation of the code at RIP, made if need be; or what is to be done before.
    fn next_block(&mut self) -> Result<BlockId, Run> {
        loop {
            if self.attention.hush(self.context.stack_limit) != 0 || self.interrupt_waits() {
                return Err(Run::Again);
            }
            let Some(mode) = self.translation_mode() else { return Err(Run::Interpret) };
            self.refresh_translations();
            let rip = self.regs[RIP];
            let page = match self.code_page(rip) {
                Ok(Some(page)) => page,
                Ok(None) => return Err(Run::Interpret),
                Err(_) => return Err(self.deliver_fault().map_or(Run::Again, Run::Exit)),
            };
            self.stats.block_lookups.add(1);
            let key = Key { rip, page, mode };
            if let Some(block) = self.translator().cache.find(&key) {
                let second = self.translator().cache.blocks[block as usize].second;
                match second {
                    Some(second) if !self.is_followed_by(rip, second) => {
                        let offset = (rip & (PAGE_SIZE - 1)) as u16;
                        self.forget_code(CodeRange { page, start: offset, end: offset + 1 });
                    }
                    _ => return Ok(block),
                }
            }
            let Some(block) = self.translate_block(key) else { return Err(Run::Interpret) };
            if self.attention.bits() == 0 {
                return Ok(block);
            } // else it may be stale already
        }
    }

    /// Whether the page behind that of `rip` is mapped to a RAM page.
    fn is_followed_by(&mut self, rip: u64, second: u32) -> bool {
        let next = (rip | (PAGE_SIZE - 1)).wrapping_add(1);
        matches!(self.code_page(next), Ok(Some(page)) if page == second)
    }

    /// Forgets translations that rest on what has changed.
    fn refresh_translations(&mut self) {
        let assumed = Assumed {
            smap: self.cr4 & cr::CR4_SMAP != 0,
            tsc_free: self.cr4 & cr::CR4_TSD == 0,
            tsc_offset: self.platform.clock.tsc_offset().wrapping_add(self.msrs.tsc_adjust),
            bases: self.cr4 & cr::CR4_FSGSBASE != 0,
            flag_returns: self.translator().flag_returns.count(),
        };
        let translator = self.translator();
        if translator.assumed != assumed || translator.cache.is_full() {
            translator.assumed = assumed;
            self.clear_translations();
        }
        let translator = self.translator();
        if translator.remapped {
            translator.remapped = false;
            translator.remapped_pages.clear();
            for (linear_page, page) in self.translator().cache.pages_across() {
                self.check_mapping(linear_page, page);
            }
        } else if !translator.remapped_pages.is_empty() {
            for linear_page in std::mem::take(&mut translator.remapped_pages) {
                if let Some(page) = self.translator().cache.is_chained_across(linear_page) {
                    self.check_mapping(linear_page, page);
                }
            }
        }
    }

    /// Cuts the chains into a linear page if it is not mapped as it was.
    fn check_mapping(&mut self, linear_page: u64, page: u32) {
        if self.peek_code_page((linear_page << 12) as i64 as u64) != Some((page, true)) {
            self.translator().cache.cut(linear_page);
        }
    }

    /// Forgets all translations. Nothing of them may be running.
    pub(in crate::x86) fn clear_translations(&mut self) {
        self.stats.code_cache_flushes.add(1);
        let translator = self.translator();
        translator.cache.clear();
        translator.apart.clear();
        translator.tracer.iter_mut().for_each(Tracer::clear);
        self.context.forget_jumps();
    }

    /// Makes the way just taken to a block shorter for the next time.
    fn arrive(&mut self, block: BlockId, indirect: bool) {
        let cache = &mut self.translator.as_mut().expect("translating").cache;
        let arrived = cache.arrived.take();
        let chained = arrived.is_some_and(|exit| cache.chain(exit, block, self.context.generation));
        self.stats.chain_links.add(chained.into());
        let (code, found) = (cache.entry(block), &cache.blocks[block as usize]);
        let (key, global, second) = (found.key, found.global, found.second);
        let jumps: &mut Jumps = self.context.jumps.table(key.mode.view());
        if jumps.mode != key.mode.0 {
            jumps.clear();
            jumps.mode = key.mode.0;
        }
        if indirect || (key.mode.user() && arrived.is_some()) {
            jumps.insert(key.rip, code, global || key.mode.user());
            if second.is_some() {
                jumps.note_page(key.rip.wrapping_add(PAGE_SIZE));
            }
        }
    }

    fn translate_block(&mut self, key: Key) -> Option<BlockId> {
        self.translate_from(key, None).or_else(|| {
            let next = (key.rip | (PAGE_SIZE - 1)).wrapping_add(1);
            // A fault here is the interpreter's to raise.
            let second = self.code_page(next).ok().flatten().filter(|_| key.mode.long())?;
            self.translate_from(key, Some(second))
        })
    }

    /// Translates a block, or if `second` is the RAM page behind, an instruction that crosses into that.
    fn translate_from(&mut self, key: Key, second: Option<u32>) -> Option<BlockId> {
        const PAGE: usize = PAGE_SIZE as usize;
        let begin = self.platform.clock.tsc();
        let platform = Arc::clone(&self.platform);
        let next = (key.rip | (PAGE_SIZE - 1)).wrapping_add(1);
        let mapped_globally = self.is_global_code(key.rip) && (second.is_none() || self.is_global_code(next));
        let mut bytes = [0; PAGE + 15];
        self.copy_code(key.page, 0, &mut bytes[..PAGE]);
        if let Some(second) = second {
            self.copy_code(second, 0, &mut bytes[PAGE..]);
        }
        let end = if second.is_some() { bytes.len() } else { PAGE };
        let translator = self.translator.as_mut().expect("translating");
        let source = Source {
            key,
            bytes: &bytes[(key.rip & (PAGE_SIZE - 1)) as usize..end],
            second,
            page: &bytes[..PAGE],
            global: !key.mode.user() && mapped_globally,
            cpuid: &platform.cpuid,
            assumed: translator.assumed,
            alone: platform.fabric.vcpus() == 1,
        };
        let before = (translator.cache.hot, translator.cache.cold);
        let block = translate(translator, source)?;
        let cache = &mut translator.cache;
        let host_bytes = cache.hot - before.0 + cache.cold - before.1;
        let (length, ranges) = (u64::from(block.length), block.ranges.clone());
        let id = cache.insert(block);
        for range in &ranges {
            self.guard_code(range.page, u64::from(range.start), u64::from(range.end - range.start));
        }
        self.stats.blocks_translated.add(1);
        self.stats.guest_code_bytes.add(length);
        self.stats.host_code_bytes.add(host_bytes as u64);
        let ticks = platform.clock.tsc() - begin;
        self.stats.translation_ns.add(platform.clock.scale().nanoseconds(ticks));
        // Written before the guard was up?
        for range in ranges {
            let from = if range.page == key.page && Some(range.page) != second { 0 } else { PAGE };
            let seen = &bytes[from + usize::from(range.start)..from + usize::from(range.end)];
            let mut again = [0; PAGE];
            let again = &mut again[..seen.len()];
            self.copy_code(range.page, range.start.into(), again);
            if again != seen {
                self.forget_code(range);
                return self.translate_from(key, second);
            }
        }
        Some(id)
    }

    /// Forgets translations of bytes that were written.
    pub(in crate::x86) fn forget_written_code(&mut self) {
        let Some(translator) = &mut self.translator else { return };
        for write in translator.writes.take() {
            self.stats.code_writes.add(1);
            self.forget_code(CodeRange { page: write.page, start: write.start, end: write.end });
        }
    }

    fn forget_code(&mut self, written: CodeRange) {
        let cache = &mut self.translator.as_mut().expect("translating").cache;
        let (gone, kept) = cache.invalidate(written);
        self.stats.code_invalidations.add(gone);
        let kept: Vec<_> = kept.into_iter().map(|range| (range.start, range.end)).collect();
        self.platform.memory.trim_code(written.page, &kept);
    }

    fn enter(&mut self, code: u64) -> u32 {
        self.context.host_flags = packed(self.rflags);
        self.set_unpaired();
        let translator = self.translator();
        let thunk = translator.cache.address(translator.cache.thunks.enter as u32);
        // SAFETY: the thunk keeps to this signature; translated code touches nothing but this vCPU,
        // guest RAM and what its helpers touch. GS was set by `run`.
        let taken = unsafe {
            let enter: extern "sysv64" fn(*mut Self, u64) -> u32 = std::mem::transmute(thunk);
            enter(self, code)
        };
        self.unpack_flags();
        self.count_inlined();
        taken
    }

    /// Where returns lead that no call in translated code is known of.
    fn set_unpaired(&mut self) {
        let view = self.tlb.data;
        let cache = &self.translator().cache;
        self.context.unpaired = cache.address(cache.thunks.unpaired[view] as u32);
    }

    fn count_inlined(&mut self) {
        let counts = std::mem::take(&mut self.context.counts);
        self.stats.interrupt_flag_changes.add(counts.interrupt_flag_changes);
        self.stats.cpuids.add(counts.cpuids);
    }

    fn unpack_flags(&mut self) {
        let host = self.context.host_flags;
        let status = host >> 8 & (flag::STATUS & !flag::OF) | (host & 1) << 11;
        self.rflags = self.rflags & !flag::STATUS | status;
    }

    /// The instruction of a site, for the interpreter.
    fn site_op(&mut self, id: SiteId) -> (Op, u64, BlockId) {
        let cache = &mut self.translator.as_mut().expect("translating").cache;
        let site = &mut cache.sites[id as usize];
        let key = cache.blocks[site.block as usize].key;
        let rip = key.rip.wrapping_add(u64::from(site.offset));
        if site.op.is_none() {
            let mut bytes = [0; 15];
            let bytes = &mut bytes[..usize::from(site.length)];
            let offset = rip & (PAGE_SIZE - 1);
            let here = bytes.len().min((PAGE_SIZE - offset) as usize);
            let second = cache.blocks[site.block as usize].second;
            let parts = [(Some(key.page), offset, 0..here), (second, 0, here..bytes.len())];
            for (page, offset, range) in parts {
                let Some(page) = page.filter(|_| !range.is_empty()) else { continue };
                let from = self.platform.memory.page_pointer(page);
                let to = &mut bytes[range];
                // SAFETY: the part lies within the page.
                unsafe { std::ptr::copy_nonoverlapping(from.add(offset as usize), to.as_mut_ptr(), to.len()) };
            }
            let instruction = Decoder::with_ip(key.mode.bits(), bytes, 0, DECODING).decode();
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
        self.regs[RIP] = next;
        self.leave = false;
        let leaf = cpuid_key(self);
        let result = (op.handler)(self, &op);
        match op.code {
            Code::Cpuid => self.context.cpuid.fill(leaf, &self.regs),
            Code::Wrmsr | Code::Xsetbv => self.context.cpuid = Cpuid::default(),
            _ => {}
        }
        let mode = self.translation_mode();
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let expected = cache.blocks[block as usize].key.mode;
        let same = mode.is_some_and(|mode| mode.with_view(0) == expected.with_view(0));
        if result.is_ok()
            && !self.leave
            && same
            && self.shadow == Shadow::None
            && self.regs[RIP] == next
            && site.next != 0
        {
            let next = cache.address(site.next);
            self.context.host_flags = packed(self.rflags);
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

    /// The check of a run found no plain RAM.
    fn slow_run(&mut self, id: SiteId, linear: u64, crosses: bool) -> u64 {
        let cache = &self.translator.as_ref().expect("translating").cache;
        let site = &cache.sites[id as usize];
        let key = cache.blocks[site.block as usize].key;
        let (block, again, misaligned) = (site.block, cache.address(site.retry), linear & u64::from(site.align) != 0);
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
        let offset = linear & (PAGE_SIZE - 1);
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

/// Status flags as `Context::host_flags` keeps them.
fn packed(rflags: u64) -> u64 {
    (rflags & (flag::STATUS & !flag::OF)) << 8 | rflags >> 11 & 1
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
