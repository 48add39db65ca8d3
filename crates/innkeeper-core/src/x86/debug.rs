//! A debugger's breakpoints, watches and steps: instructions in question are taken one at a time by the interpreter.
//!
//! A page with a breakpoint has no translations, and the rest runs at full speed; while something is watched, all is
//! interpreted step by step.

use super::cpu::{Cpu, Shadow};
use crate::debug::{Reason, Stops};
use crate::exit::Exit;
use crate::memory::PAGE_SIZE;
use crate::state::Activity;

/// What a debugger waits for.
#[derive(Default)]
pub struct Debugger {
    stops: Stops,
    /// The watch that the current instruction hit.
    hit: Option<Reason>,
}

impl Cpu {
    pub fn set_stops(&mut self, stops: &Stops) {
        let none = *stops == Stops::default();
        let before = self.debugger.take();
        self.debugger = (!none).then(|| Box::new(Debugger { stops: stops.clone(), hit: None }));
        let breakpoints = before.as_ref().map_or(&[][..], |before| &before.stops.breakpoints);
        if self.translator.is_some() && breakpoints != stops.breakpoints {
            self.clear_translations();
        }
        if !stops.watches.is_empty() || before.is_some_and(|before| !before.stops.watches.is_empty()) {
            self.flush_tlb(); // what is watched must not be reached without a look here
        }
    }

    /// Whether the next instruction must be looked at by itself.
    #[inline(always)]
    pub(super) fn is_debugged(&mut self) -> bool {
        self.debugger.is_some() && self.is_debugged_here()
    }

    #[cold]
    fn is_debugged_here(&mut self) -> bool {
        let linear = self.linear_rip();
        self.debugger.as_ref().is_some_and(|debugger| {
            let Stops { breakpoints, watches, step } = &debugger.stops;
            *step || !watches.is_empty() || breakpoints.iter().any(|at| at / PAGE_SIZE == linear / PAGE_SIZE)
        })
    }

    /// Whether interrupts wait, so that a step leads to the next instruction and not into a handler.
    pub(super) fn steps_undisturbed(&self) -> bool {
        self.activity == Activity::Runnable
            && self.debugger.as_ref().is_some_and(|debugger| debugger.stops.step)
    }

    /// One instruction, or the breakpoint that is there.
    #[cold]
    pub(super) fn debugged_step(&mut self) -> Option<Exit> {
        let linear = self.linear_rip();
        let debugger = self.debugger.as_mut()?;
        debugger.hit = None;
        if debugger.stops.breakpoints.contains(&linear) {
            return Some(Exit::Debug(Reason::Breakpoint));
        }
        let exit = self.step();
        let debugger = self.debugger.as_mut()?;
        let reason = debugger.hit.take().or_else(|| debugger.stops.step.then_some(Reason::Step));
        // An instruction that lets another follow undisturbed is one with it.
        exit.or_else(|| reason.filter(|_| self.shadow != Shadow::MovSs).map(Exit::Debug))
    }

    fn linear_rip(&self) -> u64 {
        let rip = self.rip();
        if self.long { rip } else { self.bases[1].wrapping_add(rip) & 0xFFFF_FFFF }
    }

    /// Whether something in this page is watched, so that accesses must take the slow path.
    pub(super) fn is_watched(&self, linear: u64) -> bool {
        let Some(debugger) = &self.debugger else { return false };
        let page = |address: u64| address / PAGE_SIZE;
        let of_page = |from: u64, length: u64| {
            (page(from)..=page(from.saturating_add(length - 1))).contains(&page(linear))
        };
        debugger.stops.watches.iter().any(|watch| of_page(watch.address, watch.length.max(1)))
    }

    /// Records a hit of a watch by an access.
    pub(super) fn note_watched(&mut self, linear: u64, length: u64, write: bool) {
        let Some(debugger) = &mut self.debugger else { return };
        let hit = debugger.stops.watches.iter().find(|watch| {
            let wanted = if write { watch.writes } else { watch.reads };
            let (from, span) = (watch.address, watch.length.max(1));
            wanted && (from.wrapping_sub(linear) < length || linear.wrapping_sub(from) < span)
        });
        if let Some(watch) = hit
            && debugger.hit.is_none()
        {
            debugger.hit =
                Some(if write { Reason::Write(watch.address) } else { Reason::Read(watch.address) });
            self.leave = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debug::Watch;
    use crate::x86::bt::Settings;
    use crate::x86::cpu::{RAX, RBX, RIP};
    use crate::x86::testing::{CODE, DATA, machine, translating};

    /// The snippet on both tiers, where the host can translate.
    fn both(code: &[u8]) -> Vec<Box<Cpu>> {
        [Some(machine(code)), translating(code, Settings::default())].into_iter().flatten().collect()
    }

    fn at(breakpoint: u64) -> Stops {
        Stops { breakpoints: vec![breakpoint], ..Stops::default() }
    }

    // xor eax,eax; again: inc eax; cmp eax,9; jb again; inc ebx
    const LOOP: [u8; 11] = [0x31, 0xC0, 0xFF, 0xC0, 0x83, 0xF8, 9, 0x72, 0xF9, 0xFF, 0xC3];

    #[test]
    fn a_breakpoint_stops_before_its_instruction_whenever_it_is_reached() {
        for mut cpu in both(&LOOP) {
            cpu.set_stops(&at(CODE + 4));
            assert_eq!(cpu.run(), Exit::Debug(Reason::Breakpoint));
            assert_eq!((cpu.regs[RAX], cpu.rip()), (1, CODE + 4));
            cpu.set_stops(&Stops { step: true, ..Stops::default() });
            assert_eq!(cpu.run(), Exit::Debug(Reason::Step));
            cpu.set_stops(&at(CODE + 4));
            assert_eq!(cpu.run(), Exit::Debug(Reason::Breakpoint));
            assert_eq!((cpu.regs[RAX], cpu.rip()), (2, CODE + 4));
            cpu.set_stops(&Stops::default());
            assert_eq!((cpu.run(), cpu.regs[RAX], cpu.regs[RBX]), (Exit::Halt, 9, 1));
        }
    }

    #[test]
    fn code_that_was_translated_before_stops_too() {
        for mut cpu in both(&LOOP) {
            assert_eq!(cpu.run(), Exit::Halt);
            (cpu.regs[RIP], cpu.activity) = (CODE, Activity::Runnable);
            cpu.set_stops(&at(CODE + 9));
            assert_eq!(cpu.run(), Exit::Debug(Reason::Breakpoint));
            assert_eq!((cpu.regs[RAX], cpu.regs[RBX]), (9, 1));
        }
    }

    #[test]
    fn a_watch_stops_behind_the_access_and_leaves_the_guests_debug_registers_alone() {
        // mov edi,DATA; mov eax,[rdi+8]; mov [rdi+3],ax; inc ebx
        let [a, b, c, d] = (DATA as u32).to_le_bytes();
        let code = [0xBF, a, b, c, d, 0x8B, 0x47, 8, 0x66, 0x89, 0x47, 3, 0xFF, 0xC3];
        let watch = |reads, writes| Stops {
            watches: vec![Watch { address: DATA + 4, length: 8, reads, writes }],
            ..Stops::default()
        };
        for (stops, reason, rip) in [
            (watch(true, false), Reason::Read(DATA + 4), CODE + 8),
            (watch(false, true), Reason::Write(DATA + 4), CODE + 12),
        ] {
            for mut cpu in both(&code) {
                let registers = cpu.dr;
                cpu.set_stops(&stops);
                assert_eq!((cpu.run(), cpu.rip()), (Exit::Debug(reason), rip));
                assert_eq!((cpu.dr, cpu.debug_hits), (registers, 0));
                cpu.set_stops(&Stops::default());
                assert_eq!((cpu.run(), cpu.regs[RBX]), (Exit::Halt, 1));
            }
        }
    }

    #[test]
    fn a_step_is_one_instruction_even_with_an_interrupt_pending() {
        for mut cpu in both(&[0xFB, 0x90, 0xFF, 0xC3]) {
            // sti; nop; inc ebx
            cpu.set_stops(&Stops { step: true, ..Stops::default() });
            for rip in [CODE + 1, CODE + 2, CODE + 4] {
                cpu.platform.fabric.signal_msi(0xFEE0_0000, 0x40);
                assert_eq!((cpu.run(), cpu.rip()), (Exit::Debug(Reason::Step), rip));
            }
        }
    }
}
