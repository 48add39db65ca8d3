//! What translated blocks did, for those who want to see: how often each was executed, why it was left
//! for the run-time, and which ones ran last.
//!
//! Counters live outside the code buffer: processors take a write near code that they have fetched for
//! self-modification, and drop their pipeline. All that is emitted is in front of a block's own code and
//! touches no flags; where nobody traces, nothing is.

use std::sync::atomic::{AtomicU64, Ordering};

use iced_x86::Decoder;

use super::asm::{Asm, Mem, R10, R11, Size, at, gs};
use super::cache::{Access, Block, BlockId, Cache, ExitId, Map, SiteId};
use super::context::field;
use super::translator::Translator;
use crate::engine::TracedBlock;
use crate::memory::PAGE_SIZE;
use crate::x86::attention::{CODE, INIT, INTERRUPT, KICK, NMI, SIPI, WRITTEN};
use crate::x86::block::DECODING;
use crate::x86::cpu::{Cpu, RIP};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::seg;

/// Blocks that the flight record holds: as many as a byte counts, so that it goes round by itself.
pub const FLIGHT: usize = 256;
/// Counters allocated together; their addresses must last.
const CHUNK: usize = 1024;

/// The flight record, as translated code writes it.
#[repr(C)]
pub struct Flight {
    pub rips: [u64; FLIGHT],
    /// Blocks so far; its low byte is where the next one goes.
    pub count: u64,
    /// The block that runs, or ran last.
    pub block: BlockId,
}

impl Flight {
    pub fn new() -> Self {
        Self { rips: [0; FLIGHT], count: 0, block: 0 }
    }

    fn push(&mut self, rip: u64) {
        self.rips[self.count as usize % FLIGHT] = rip;
        self.count += 1;
    }

    /// Oldest first.
    fn list(&self) -> Vec<u64> {
        let first = self.count.saturating_sub(FLIGHT as u64);
        (first..self.count).map(|at| self.rips[at as usize % FLIGHT]).collect()
    }
}

/// Emits what counts an execution and records it. Uses R10 and R11; changes no flags.
pub fn count(asm: &mut Asm, counter: u64, rip: u64, block: BlockId) {
    asm.mov_imm(R10, counter);
    asm.load(R11, at(R10, 0));
    asm.lea(Size::Q, R11, at(R11, 1));
    asm.store(at(R10, 0), R11);
    record(asm, rip, block);
}

/// Emits what records that a block is at `rip`: at its start, or behind a call. Otherwise as `count`.
pub fn record(asm: &mut Asm, rip: u64, block: BlockId) {
    asm.load(R11, gs(field!(flight.count)));
    asm.rr(Size::D, &[0x0F, 0xB6], R10, R11); // movzx r10d, r11b
    asm.lea(Size::Q, R11, at(R11, 1));
    asm.store(gs(field!(flight.count)), R11);
    asm.mov_imm(R11, rip);
    let slot = Mem { base: None, index: Some((R10, 3)), disp: field!(flight.rips) as i32, gs: true };
    asm.store(slot, R11);
    asm.rm(Size::D, &[0xC7], 0, gs(field!(flight.block))); // mov
    asm.raw(&block.to_le_bytes());
}

/// Why a block was left for the run-time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its jump there was not chained.
    Jump(u64),
    /// The target of an indirect branch was not in the table.
    Indirect,
    /// Somebody rang the doorbell: the bits of `Attention`.
    Attention(u32),
    /// A memory access met no first-level TLB entry, but there can be one.
    Fill,
    /// It faulted.
    Fault(u8),
    Misaligned,
    AcrossPages,
    /// It met a device, a page with code on it, or a non-canonical address.
    NotPlain,
    /// The interpreter has the instruction at this offset.
    Emulated(u16),
}

/// What is kept where blocks are counted.
#[derive(Default)]
pub struct Tracer {
    counters: Vec<Box<[AtomicU64]>>,
    used: usize,
    reasons: Map<(BlockId, Reason), u64>,
}

impl Tracer {
    /// A new counter, and its address.
    pub fn counter(&mut self) -> (usize, u64) {
        let (number, chunk) = (self.used, self.used / CHUNK);
        if chunk == self.counters.len() {
            self.counters.push((0..CHUNK).map(|_| AtomicU64::new(0)).collect());
        }
        self.used += 1;
        let counter = &self.counters[chunk][number % CHUNK];
        counter.store(0, Ordering::Relaxed);
        (number, counter.as_ptr() as u64)
    }

    fn executions(&self, number: usize) -> u64 {
        self.counters[number / CHUNK][number % CHUNK].load(Ordering::Relaxed)
    }

    pub fn note(&mut self, block: BlockId, reason: Reason) {
        *self.reasons.entry((block, reason)).or_default() += 1;
    }

    /// Forgets everything, like the cache.
    pub fn clear(&mut self) {
        self.used = 0;
        self.reasons.clear();
    }
}

impl Cpu {
    /// Every live block, where blocks are counted.
    pub fn trace(&self) -> Vec<TracedBlock> {
        let Some(Translator { cache, tracer: Some(tracer), .. }) = self.translator.as_deref() else {
            return Vec::new();
        };
        let mut traced: Vec<_> = cache.blocks.iter().map(|block| self.traced(cache, tracer, block)).collect();
        for (&(block, reason), &times) in &tracer.reasons {
            let Some(traced) = traced.get_mut(block as usize) else { continue };
            let reason = reason.describe(&cache.blocks[block as usize], &traced.guest);
            match traced.exits.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += times,
                None => traced.exits.push((reason, times)),
            }
        }
        let mut live = cache.blocks.iter().map(|block| !block.dead);
        traced.retain(|_| live.next() == Some(true));
        for block in &mut traced {
            block.exits.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
        }
        traced
    }

    fn traced(&self, cache: &Cache, tracer: &Tracer, block: &Block) -> TracedBlock {
        let offset = block.key.rip & (PAGE_SIZE - 1);
        let (start, end) = (block.hot.0 as usize, block.hot.1 as usize);
        TracedBlock {
            vcpu: self.index,
            rip: block.key.rip,
            gpa: self.platform.memory.page_gpa(block.key.page) + offset,
            mode: block.key.mode.describe(),
            guest: block.code.to_vec(),
            host: cache.buffer.read(start, end - start).to_vec(),
            host_address: cache.buffer.address(start),
            executions: block.counter.map_or(0, |counter| tracer.executions(counter)),
            exits: Vec::new(),
        }
    }

    /// Where the last blocks began or were returned to, as linear addresses, oldest first; interpreted
    /// ones among them.
    pub fn flight_record(&self) -> Vec<u64> {
        self.context.flight.list()
    }

    /// The next block is the interpreter's.
    pub(in crate::x86) fn note_interpreted(&mut self) {
        if self.tracing().is_some() {
            let base = if self.long { 0 } else { self.segments[usize::from(seg::CS)].base };
            self.context.flight.push(self.regs[RIP].wrapping_add(base));
        }
    }

    fn tracing(&mut self) -> Option<(&Cache, &mut Tracer)> {
        let Translator { cache, tracer, .. } = self.translator.as_deref_mut()?;
        tracer.as_mut().map(|tracer| (&*cache, tracer))
    }

    /// A memory access left its block.
    pub(super) fn note_at(&mut self, site: SiteId, reason: Reason) {
        if let Some((cache, tracer)) = self.tracing() {
            tracer.note(cache.sites[site as usize].block, reason);
        }
    }

    /// The interpreter was asked for an instruction; for a memory access there is a reason already.
    pub(super) fn note_emulated(&mut self, site: SiteId) {
        if let Some((cache, tracer)) = self.tracing()
            && let site = &cache.sites[site as usize]
            && site.access == Access::Emulate
        {
            tracer.note(site.block, Reason::Emulated(site.offset));
        }
    }

    /// The block that ran last was left by an indirect branch.
    pub(super) fn note_indirect(&mut self) {
        let bits = self.attention.bits();
        let reason = if bits == 0 { Reason::Indirect } else { Reason::Attention(bits) };
        let block = self.context.flight.block;
        if let Some((_, tracer)) = self.tracing() {
            tracer.note(block, reason);
        }
    }

    /// A block was left by an exit, `polled` if because it found the doorbell rung.
    pub(super) fn note_exit(&mut self, exit: ExitId, polled: bool) {
        let bits = self.attention.bits();
        if let Some((cache, tracer)) = self.tracing() {
            let exit = &cache.exits[exit as usize];
            let reason = if polled { Reason::Attention(bits) } else { Reason::Jump(exit.target) };
            tracer.note(exit.from, reason);
        }
    }
}

impl Reason {
    /// What `fill_first_level` answered; `vector` is that of the fault if it met one.
    pub fn of_fill(filled: Result<bool, Stop>, vector: u8) -> Self {
        match filled {
            Ok(true) => Self::Fill,
            Ok(false) => Self::NotPlain,
            Err(_) => Self::Fault(vector),
        }
    }

    /// In words.
    fn describe(self, block: &Block, guest: &[u8]) -> String {
        match self {
            Self::Jump(target) => format!("unchained jump to {target:x}"),
            Self::Indirect => "indirect branch miss".into(),
            Self::Attention(bits) => attention(bits).into(),
            Self::Fill => "TLB miss".into(),
            Self::Fault(vector::PF) => "page fault".into(),
            Self::Fault(vector) => format!("exception {vector}"),
            Self::Misaligned => "misaligned access".into(),
            Self::AcrossPages => "access across pages".into(),
            Self::NotPlain => "access to a device or a page with code".into(),
            Self::Emulated(offset) => {
                let code = &guest[usize::from(offset)..];
                let instruction = Decoder::with_ip(block.key.mode.bits(), code, 0, DECODING).decode();
                format!("emulated {}", format!("{:?}", instruction.mnemonic()).to_uppercase())
            }
        }
    }
}

/// What the attention was for, the most telling first. Where nobody wants any, the host's stack has no
/// room for more return addresses, and that rings too.
fn attention(bits: u32) -> &'static str {
    const NAMES: [(u32, &str); 5] = [
        (KICK, "kick"),
        (INTERRUPT, "interrupt"),
        (NMI, "NMI"),
        (INIT | SIPI, "start-up message"),
        (CODE | WRITTEN, "code written or guarded"),
    ];
    if bits == 0 {
        return "calls too deep";
    }
    NAMES.iter().find(|&&(mask, _)| bits & mask != 0).map_or("interrupt check", |&(_, name)| name)
}

#[cfg(test)]
mod tests;
