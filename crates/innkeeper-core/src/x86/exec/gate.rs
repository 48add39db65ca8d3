//! Interrupt, trap and task gates: from an event to its handler's first instruction, in every mode.
//! Source: Intel SDM vol. 3, 6.11-6.14, and vol. 2, INT n; 21.1.4 (real mode); 21.3 (virtual-8086).

use super::event::Event;
use crate::state::SegmentState;
use crate::x86::cpu::{Cpu, RIP, flag};
use crate::x86::fault::{Stop, vector};
use crate::x86::mmu::canonical;
use crate::x86::op::seg;
use crate::x86::segment::{Descriptor, is_null};

/// Gate types, as `Descriptor::kind` gives them.
const TASK_GATE: u32 = 5;
const INTERRUPT_GATE_16: u32 = 6;
const TRAP_GATE_16: u32 = 7;
const INTERRUPT_GATE_32: u32 = 0xE;
const TRAP_GATE_32: u32 = 0xF;

/// A code segment to enter, its descriptor checked.
struct Target {
    selector: u16,
    descriptor: Descriptor,
    cpl: u8,
}

impl Cpu {
    /// Enters the handler of an event. On a fault nothing has changed (but see `task_switch`).
    pub(super) fn inject(&mut self, event: &Event) -> Result<(), Stop> {
        if self.real() {
            return self.inject_real(event);
        }
        let (size, vector) = (if self.lma() { 16 } else { 8 }, u64::from(event.vector));
        let error = u32::from(event.vector) << 3 | 2 | event.ext();
        if vector * size + size - 1 > u64::from(self.idtr.limit) {
            return Err(self.gp(error));
        }
        let address = self.idtr.base.wrapping_add(vector * size);
        let gate = Descriptor { raw: self.load_system(address)?, address };
        let known = match gate.kind() {
            INTERRUPT_GATE_32 | TRAP_GATE_32 => true,
            TASK_GATE | INTERRUPT_GATE_16 | TRAP_GATE_16 => !self.lma(),
            _ => false,
        };
        if !known || (event.software && gate.dpl() < self.cpl) {
            return Err(self.gp(error));
        }
        if !gate.is_present() {
            return Err(self.raise(vector::NP, error));
        }
        if self.lma() {
            self.inject_long(event, gate)
        } else if gate.kind() == TASK_GATE {
            self.task_switch_by_event(event, (gate.raw >> 16) as u16)
        } else {
            self.inject_protected(event, gate)
        }
    }

    fn inject_real(&mut self, event: &Event) -> Result<(), Stop> {
        let entry = u64::from(event.vector) * 4;
        if entry + 3 > u64::from(self.idtr.limit) {
            return Err(self.gp(event.ext()));
        }
        let target: u32 = self.load_system(self.idtr.base.wrapping_add(entry))?;
        let mut frame = self.current_frame(event.ext());
        self.push_frame(&mut frame, 2, event.flags)?;
        self.push_frame(&mut frame, 2, u64::from(self.segments[seg::CS as usize].selector))?;
        self.push_frame(&mut frame, 2, self.rip())?;
        self.enter_frame(&frame);
        self.segments[seg::CS as usize] = self.real_segment(seg::CS, (target >> 16) as u16);
        self.regs[RIP] = u64::from(target & 0xFFFF);
        self.rflags &= !(flag::IF | flag::TF | flag::AC | flag::RF);
        self.refresh_mode();
        Ok(())
    }

    /// The code segment that a gate names, and the privilege level its handler runs at.
    fn handler_segment(&mut self, gate: Descriptor, ext: u32) -> Result<Target, Stop> {
        let selector = (gate.raw >> 16) as u16;
        if is_null(selector) {
            return Err(self.gp(ext));
        }
        let mut descriptor = self.read_descriptor(selector, vector::GP, ext)?;
        let wrong_mode = self.lma() && (!descriptor.is_long() || descriptor.is_big());
        if !descriptor.is_code() || descriptor.dpl() > self.cpl || wrong_mode {
            return Err(self.selector_fault(vector::GP, selector, ext));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, ext));
        }
        let cpl = if descriptor.is_conforming() { self.cpl } else { descriptor.dpl() };
        // From virtual-8086 mode the only way is to CPL 0.
        if self.v86() && cpl != 0 {
            return Err(self.selector_fault(vector::GP, selector, ext));
        }
        self.mark_accessed(&mut descriptor)?;
        Ok(Target { selector: selector & !3 | u16::from(cpl), descriptor, cpl })
    }

    fn inject_long(&mut self, event: &Event, gate: Descriptor) -> Result<(), Stop> {
        let target = self.handler_segment(gate, event.ext())?;
        let high: u64 = self.load_system(gate.address.wrapping_add(8))?;
        let offset = gate_offset(gate) | high << 32;
        if !canonical(offset) {
            return Err(self.gp(event.ext()));
        }
        let ist = (gate.raw >> 32 & 7) as u32;
        let mut frame = self.interrupt_frame_long(target.cpl, ist, event.ext())?;
        let ss = u64::from(self.segments[seg::SS as usize].selector);
        let cs = u64::from(self.segments[seg::CS as usize].selector);
        for value in [ss, self.regs[crate::x86::cpu::RSP], event.flags, cs, self.rip()] {
            self.push_frame(&mut frame, 8, value)?;
        }
        if let Some(error) = event.error {
            self.push_frame(&mut frame, 8, u64::from(error))?;
        }
        self.enter_frame(&frame);
        self.enter_handler(&target, offset, gate.kind() == INTERRUPT_GATE_32);
        Ok(())
    }

    fn inject_protected(&mut self, event: &Event, gate: Descriptor) -> Result<(), Stop> {
        let target = self.handler_segment(gate, event.ext())?;
        let wide = gate.kind() & 8 != 0;
        let size = if wide { 4 } else { 2 };
        let offset = gate_offset(gate) & if wide { 0xFFFF_FFFF } else { 0xFFFF };
        let inner = target.cpl < self.cpl;
        let mut frame =
            if inner { self.inner_frame(target.cpl, event.ext())? } else { self.current_frame(event.ext()) };
        if self.v86() {
            for number in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.push_frame(&mut frame, size, u64::from(self.segments[number as usize].selector))?;
            }
        }
        if inner {
            self.push_frame(&mut frame, size, u64::from(self.segments[seg::SS as usize].selector))?;
            self.push_frame(&mut frame, size, self.regs[crate::x86::cpu::RSP])?;
        }
        let cs = u64::from(self.segments[seg::CS as usize].selector);
        for value in [event.flags, cs, self.rip()] {
            self.push_frame(&mut frame, size, value)?;
        }
        if let Some(error) = event.error {
            self.push_frame(&mut frame, size, u64::from(error))?;
        }
        if offset > u64::from(target.descriptor.segment(0).limit) {
            return Err(self.gp(event.ext()));
        }
        self.enter_frame(&frame);
        if self.v86() {
            for number in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.segments[number as usize] = SegmentState::null(0);
            }
        }
        self.enter_handler(&target, offset, gate.kind() & 1 == 0);
        Ok(())
    }

    fn enter_handler(&mut self, target: &Target, offset: u64, interrupt_gate: bool) {
        self.segments[seg::CS as usize] = target.descriptor.segment(target.selector);
        self.regs[RIP] = offset;
        self.rflags &= !(flag::TF | flag::VM | flag::RF | flag::NT);
        if interrupt_gate {
            self.rflags &= !flag::IF;
        }
        self.refresh_mode();
    }
}

/// Offset bits 31:0 of a gate.
fn gate_offset(gate: Descriptor) -> u64 {
    gate.raw & 0xFFFF | gate.raw >> 32 & 0xFFFF_0000
}
