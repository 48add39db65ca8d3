//! The loop that enters translated code, and finds or makes what it is to enter.

use core::arch::asm;
use std::sync::Arc;

use super::cache::{BlockId, CodeRange, Key};
use super::context::Jumps;
use super::trace::Tracer;
use super::translate::{Source, translate};
use super::translator::{Assumed, Translator};
use crate::exit::Exit;
use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, RIP, cr, flag};
use crate::x86::mmu::{SUPERVISOR, SUPERVISOR_SMAP, USER};

/// What `enter` returns for an indirect branch whose target is RIP; else it is 0, everything being
/// done, or the exit taken.
pub const INDIRECT: u32 = u32::MAX;
/// What translated code may use of the host's stack, for return addresses: helpers need the rest.
const STACK_BYTES: u64 = 64 << 10;
/// Marks an exit that was taken because a poll found attention wanted.
pub const POLL: u32 = 1 << 30;

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
    pub(super) fn translator(&mut self) -> &mut Translator {
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
            self.verify_from(block);
            let code = self.translator().cache.entry(block);
            let taken = self.enter(code);
            indirect = taken == INDIRECT;
            match taken {
                0 => return self.translator().leaving.take().map_or(Run::Again, Run::Exit),
                INDIRECT => self.note_indirect(),
                _ => {
                    let id = taken & !POLL;
                    self.note_exit(id, taken & POLL != 0);
                    self.regs[RIP] = self.translator().cache.exits[id as usize].target;
                    self.translator().cache.arrived = Some(id);
                }
            }
            if let Err(difference) = self.verify_to(None, 0) {
                return Run::Exit(Exit::InternalError(difference));
            }
            if taken != INDIRECT && taken & POLL != 0 {
                return Run::Again;
            }
        }
    }

    /// The translation of the code at RIP, made if need be; or what is to be done before.
    pub(super) fn next_block(&mut self) -> Result<BlockId, Run> {
        loop {
            if self.attention.hush(self.context.stack_limit) != 0 || self.interrupt_waits() {
                return Err(Run::Again);
            }
            if self.is_debugged() {
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
        if translator.assumed != assumed || translator.cache.is_full() || translator.is_tired() {
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
    pub(super) fn arrive(&mut self, block: BlockId, indirect: bool) {
        let Translator { cache, verifier, .. } = &mut **self.translator.as_mut().expect("translating");
        let arrived = cache.arrived.take();
        if verifier.as_ref().is_some_and(|verifier| !verifier.chains()) {
            return;
        }
        let chained = arrived.is_some_and(|exit| cache.chain(exit, block));
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
        let (length, ranges) = (block.code.len() as u64, block.ranges.clone());
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

    pub(super) fn forget_code(&mut self, written: CodeRange) {
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
    pub(super) fn set_unpaired(&mut self) {
        // STAC and CLAC may change the view until then, but only returns in the view that is the rule are paired.
        let view = match self.tlb.data {
            USER => USER,
            _ if self.cr4 & cr::CR4_SMAP != 0 => SUPERVISOR_SMAP,
            _ => SUPERVISOR,
        };
        let cache = &self.translator().cache;
        self.context.unpaired = cache.address(cache.thunks.unpaired[view] as u32);
    }

    fn count_inlined(&mut self) {
        let counts = std::mem::take(&mut self.context.counts);
        self.stats.interrupt_flag_changes.add(counts.interrupt_flag_changes);
        self.stats.cpuids.add(counts.cpuids);
    }

    pub(super) fn unpack_flags(&mut self) {
        let host = self.context.host_flags;
        let status = host >> 8 & (flag::STATUS & !flag::OF) | (host & 1) << 11;
        self.rflags = self.rflags & !flag::STATUS | status;
    }
}

/// Status flags as `Context::host_flags` keeps them.
pub(super) fn packed(rflags: u64) -> u64 {
    (rflags & (flag::STATUS & !flag::OF)) << 8 | rflags >> 11 & 1
}
