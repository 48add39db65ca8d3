//! The run loop: blocks, and between them whatever wants attention, in the processor's order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::attention::{Attention, CODE, INIT, INTERRUPT, KICK, LOCAL, MOVED, NMI, SIPI, WRITTEN};
use super::bt::runtime::{GsBase, Run};
use super::cpu::{Cpu, RIP, Shadow, flag};
use super::fault::{Stop, vector};
use super::op::Op;
use crate::exit::Exit;
use crate::memory::{Engine, writer};
use crate::state::Activity;

/// How long a halted vCPU sleeps at most before it looks again by itself.
const HALT_SLICE: Duration = Duration::from_millis(if cfg!(test) {
    3_600_000 // so that a lost wake-up cannot hide behind it
} else {
    200
});

/// Keeps decoded code and other vCPUs' writes apart: a page may only be decoded once no vCPU can
/// write to it unnoticed. The same way serves watches of memory.
pub struct CodeGuard {
    vcpus: Vec<GuardedVcpu>,
    marking: Mutex<()>,
    split: Mutex<()>,
}

struct GuardedVcpu {
    attention: Arc<Attention>,
    in_guest: AtomicBool,
}

impl CodeGuard {
    pub fn new(attentions: &[Arc<Attention>]) -> Arc<Self> {
        let guarded = |attention: &Arc<Attention>| GuardedVcpu {
            attention: Arc::clone(attention),
            in_guest: AtomicBool::new(false),
        };
        Arc::new(Self {
            vcpus: attentions.iter().map(guarded).collect(),
            marking: Mutex::new(()),
            split: Mutex::new(()),
        })
    }

    fn among(&self, writers: u64) -> impl Iterator<Item = (u32, &GuardedVcpu)> {
        (0..).zip(&self.vcpus).filter(move |(index, _)| writers & writer(*index) != 0)
    }

    /// Held across a locked access that no single host instruction can do.
    pub fn split_lock(&self) -> MutexGuard<'_, ()> {
        self.split.lock().expect("split lock")
    }
}

impl GuardedVcpu {
    /// Whether it may still use what it was told to drop; outside the guest it does that before it comes back.
    fn holds(&self) -> bool {
        self.in_guest.load(Ordering::SeqCst) && self.attention.bits() & CODE != 0
    }
}

impl Engine for CodeGuard {
    fn withdraw(&self, find: &mut dyn FnMut() -> u64) -> Option<u64> {
        // Who has it may have cleared a page's writers already, while these have yet to answer.
        let _marking = self.marking.try_lock().ok()?;
        let writers = find();
        for (_, vcpu) in self.among(writers) {
            vcpu.attention.raise_quietly(CODE);
        }
        Some(writers)
    }

    fn holding(&self, writers: u64) -> u64 {
        let holds = self.among(writers).filter(|(_, vcpu)| vcpu.holds());
        holds.fold(0, |all, (index, _)| all | writer(index))
    }
}

impl Cpu {
    /// Runs until the machine must decide something.
    pub fn run(&mut self) -> Exit {
        let platform = Arc::clone(&self.platform);
        let me = &platform.code_guard.vcpus[self.index as usize].in_guest;
        me.store(true, Ordering::SeqCst);
        platform.fabric.unpark(self.index);
        self.attention.raise(LOCAL);
        let gs_base = self.translator.is_some().then(|| GsBase::set(self));
        let exit = self.run_loop();
        drop(gs_base);
        self.save_x87();
        me.store(false, Ordering::SeqCst);
        exit
    }

    fn run_loop(&mut self) -> Exit {
        loop {
            if (self.attention.bits() != 0 || self.interrupt_waits())
                && let Some(exit) = self.attend()
            {
                return exit;
            }
            if self.is_debugged() {
                self.save_x87();
                if let Some(exit) = self.debugged_step() {
                    return exit;
                }
                continue;
            }
            if self.stepping() {
                self.save_x87();
                if let Some(exit) = self.step() {
                    return exit;
                }
                continue;
            }
            if self.translator.is_some() {
                match self.run_translated() {
                    Run::Again => continue,
                    Run::Exit(exit) => return exit,
                    Run::Interpret => {
                        self.stats.interpreted_blocks.add(1);
                        self.note_interpreted();
                    }
                }
                self.save_x87();
            }
            let block = match self.find_block() {
                // SAFETY: the cache changes only in `find_block`, and handlers never call that.
                Ok(block) => unsafe { &*block },
                Err(_) => {
                    // Fetching faults with RIP at the instruction: nothing to rewind.
                    if let Some(exit) = self.deliver_fault() {
                        return exit;
                    }
                    continue;
                }
            };
            self.leave = false;
            let mut done = 0;
            let mut stopped = None;
            // Kept here, for only the last instruction of a block changes RIP: adding in memory would
            // make each instruction wait for the one before.
            let mut rip = self.regs[RIP];
            for op in &block.ops {
                rip = rip.wrapping_add(u64::from(op.length));
                self.regs[RIP] = rip;
                if let Err(stop) = (op.handler)(self, op) {
                    stopped = Some((stop, op.length));
                    break;
                }
                done += 1;
                if self.leave {
                    break;
                }
            }
            self.stats.instructions.add(done);
            self.stats.blocks.add(1);
            if let Some((stop, length)) = stopped
                && let Some(exit) = self.stopped(stop, length)
            {
                return exit;
            }
            if self.debug_hits != 0
                && let Some(exit) = self.deliver_debug_trap()
            {
                return exit;
            }
        }
    }

    /// Whether an interrupt that was found pending while IF was clear can be delivered now.
    #[inline]
    pub(super) fn interrupt_waits(&self) -> bool {
        self.context.irq_waiting != 0 && self.has_flag(flag::IF)
    }

    /// What to do with a handler's `Stop`.
    pub(super) fn stopped(&mut self, stop: Stop, length: u8) -> Option<Exit> {
        match stop {
            Stop::Fault => {
                self.regs[RIP] = self.regs[RIP].wrapping_sub(u64::from(length));
                self.debug_hits = 0;
                self.deliver_fault()
            }
            Stop::Leave => None,
            Stop::Exit => {
                self.stats.instructions.add(1);
                self.exit.take()
            }
        }
    }

    /// Whether instructions must be taken one at a time: TF, an interrupt shadow, an armed
    /// instruction breakpoint, or RF, which lasts for one instruction.
    #[inline(always)]
    pub(super) fn stepping(&self) -> bool {
        self.rflags & (flag::TF | flag::RF) != 0 || self.shadow != Shadow::None || self.dr[7] & 0xFF != 0
    }

    /// One instruction, with the debug checks before and behind it.
    pub(super) fn step(&mut self) -> Option<Exit> {
        let (trap_flag, shadow) = (self.has_flag(flag::TF), self.shadow);
        let linear = match self.code_linear() {
            Ok(linear) => linear,
            Err(_) => return self.deliver_fault(),
        };
        // As on AMD processors, MOV SS does not hold these back.
        if !self.has_flag(flag::RF) && self.instruction_breakpoint(linear) {
            return self.deliver_fault();
        }
        let op = match self.find_block() {
            // SAFETY: the cache changes only in `find_block`, and handlers never call that.
            Ok(block) => unsafe { &(&(*block).ops)[0] },
            Err(_) => return self.deliver_fault(),
        };
        self.regs[RIP] = self.regs[RIP].wrapping_add(u64::from(op.length));
        let next = self.rip();
        self.leave = false;
        let result = (op.handler)(self, op);
        if result == Err(Stop::Fault) {
            self.clear_shadow(shadow);
            return self.stopped(Stop::Fault, op.length);
        }
        self.stats.instructions.add(1);
        self.clear_shadow(shadow);
        // RF lasts for one instruction, unless that one loaded it; until a REP is done, it goes on.
        if !super::exec::loads_rf(op.code) && result != Err(Stop::Leave) {
            self.rflags &= !flag::RF;
        }
        // A load of SS is not trapped: the trap behind the next instruction is for both.
        if trap_flag && self.shadow != Shadow::MovSs && super::exec::traps(self, op.code, next) {
            self.debug_hits |= super::exec::DR6_BS;
        }
        if let Err(stop) = result
            && let Some(exit) = self.stopped(stop, op.length)
        {
            return Some(exit);
        }
        // MOV SS holds debug exceptions back over the next instruction.
        if self.debug_hits != 0 && self.shadow != Shadow::MovSs {
            return self.deliver_debug_trap();
        }
        None
    }

    /// An unfinished REP instruction goes on later: RIP is put back, and RF set, so that an instruction
    /// breakpoint is not met again (Intel SDM vol. 3, 17.3.1.1).
    pub fn repeat_later(&mut self, op: &Op) -> Stop {
        self.regs[RIP] = self.rip().wrapping_sub(u64::from(op.length));
        self.rflags |= flag::RF;
        Stop::Leave
    }

    /// A device was called. If it kicked this vCPU or interrupted it, that comes right behind this
    /// instruction, not behind the block.
    #[inline]
    pub fn heed_device(&mut self) {
        self.leave |= self.attention.bits() != 0;
    }

    /// Ends a shadow that covered the instruction just done (which may have begun a new one).
    fn clear_shadow(&mut self, before: Shadow) {
        if before != Shadow::None && self.shadow == before {
            self.shadow = Shadow::None;
            self.attention.raise(LOCAL);
        }
    }

    fn instruction_breakpoint(&mut self, linear: u64) -> bool {
        let hits = (0..4).filter(|&i| {
            let armed = self.dr[7] >> (2 * i) & 3 != 0;
            armed && self.dr[7] >> (16 + 4 * i) & 3 == 0 && self.dr[i] == linear
        });
        let hits = hits.fold(0, |bits, i| bits | 1 << i);
        if hits != 0 {
            self.debug_hits = hits;
            self.raise(vector::DB, 0);
        }
        hits != 0
    }

    // ---- attention ------------------------------------------------------------------------------

    /// Serves whatever was raised, in order of priority; sleeps while halted.
    #[cold]
    fn attend(&mut self) -> Option<Exit> {
        loop {
            let bits = self.attention.take(CODE | KICK | LOCAL | MOVED | WRITTEN);
            if bits & WRITTEN != 0 {
                self.forget_written_code();
            }
            if bits & CODE != 0 {
                self.flush_write_entries();
            }
            if bits & MOVED != 0 {
                self.flush_tlb();
            }
            if bits & KICK != 0 {
                self.stats.kicks.add(1);
                self.attention.raise(LOCAL); // the rest is still to be looked at
                return Some(Exit::Kicked);
            }
            // Taken at once: a SIPI right behind its INIT must not pass for one that came too early.
            let starts = self.attention.take(INIT | SIPI);
            if starts & INIT != 0 {
                self.init();
            }
            if self.activity == Activity::WaitForSipi {
                if starts & SIPI == 0 {
                    if self.platform.fabric.all_dead(self.index) {
                        return Some(Exit::Halt);
                    }
                    self.sleep(SIPI | INIT | KICK | CODE);
                    continue;
                }
                let page = self.lapic.sipi_vector();
                self.start_up(page);
            }
            if self.shadow != Shadow::None || self.steps_undisturbed() {
                return None;
            }
            if self.nmi_arrives() {
                self.activity = Activity::Runnable;
                self.stats.nmis.add(1);
                return self.deliver_nmi();
            }
            self.attention.take(INTERRUPT);
            // One that comes later raises attention itself.
            self.context.irq_waiting = (!self.has_flag(flag::IF) && self.lapic.has_interrupt()).into();
            if self.has_flag(flag::IF)
                && let Some(vector) = self.lapic.acknowledge()
            {
                self.activity = Activity::Runnable;
                self.stats.interrupts.add(1);
                return self.deliver_interrupt(vector);
            }
            if self.activity != Activity::Halted {
                return None;
            }
            if !self.has_flag(flag::IF) && self.platform.fabric.all_dead(self.index) {
                return Some(Exit::Halt);
            }
            self.sleep(if self.nmi_blocked { !NMI } else { u32::MAX });
        }
    }

    /// Takes an NMI if one is there and none is being handled. For one that is held back, IRET raises
    /// the bit again: while it is up, translated code is not entered.
    fn nmi_arrives(&mut self) -> bool {
        if self.attention.bits() & NMI == 0 {
            return false;
        }
        self.attention.take(NMI);
        if self.nmi_blocked {
            self.lapic.hold_nmi();
            return false;
        }
        self.lapic.take_nmi()
    }

    /// Sleeps outside the guest, so that nobody waits for us meanwhile.
    fn sleep(&mut self, mask: u32) {
        let platform = Arc::clone(&self.platform);
        let me = &platform.code_guard.vcpus[self.index as usize].in_guest;
        me.store(false, Ordering::SeqCst);
        self.attention.sleep(mask, HALT_SLICE);
        me.store(true, Ordering::SeqCst);
        platform.fabric.unpark(self.index); // before whatever woke us is taken
    }

    /// Records that a block comes from `[offset, offset + length)` of a page; if that makes it a code
    /// page, waits until no vCPU can write to it through a cached entry.
    pub fn guard_code(&mut self, page: u32, offset: u64, length: u64) {
        let platform = Arc::clone(&self.platform);
        let mut patience = Patience::default();
        let _guard = loop {
            match platform.code_guard.marking.try_lock() {
                Ok(guard) => break guard,
                Err(_) => {
                    // Its holder may be waiting for us.
                    if self.attention.take(CODE) != 0 {
                        self.flush_write_entries();
                    }
                    patience.wait();
                }
            }
        };
        let writers = platform.memory.mark_code(page, offset, length);
        let all_reported = writers != 0 && self.tlb.forget_reported(page);
        if writers & writer(self.index) != 0 && !all_reported {
            self.flush_write_entries();
        }
        for (_, other) in platform.code_guard.among(writers).filter(|(index, _)| *index != self.index) {
            other.attention.raise_quietly(CODE);
            while other.holds() {
                patience.wait();
            }
        }
    }
}

/// Waiting for another vCPU's thread: it answers at once if it runs, but it may not even have a
/// processor, and then it shall have ours.
#[derive(Default)]
struct Patience {
    looks: u32,
}

impl Patience {
    fn wait(&mut self) {
        self.looks += 1;
        if self.looks < 200 {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
