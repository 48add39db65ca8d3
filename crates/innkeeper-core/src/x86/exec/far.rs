//! Far jumps, calls and returns: direct, through call gates, and to tasks.
//! Source: Intel SDM vol. 2, JMP, CALL, RET; vol. 3, 5.8.

use iced_x86::Code;

use super::task::{Request, Switch};
use crate::state::SegmentState;
use crate::x86::cpu::{Cpu, RIP, RSP};
use crate::x86::fault::{Stop, vector};
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::segment::{Descriptor, is_null, null_stack, rpl};
use crate::x86::word::Int;

const CALL_GATE_16: u32 = 4;
const TASK_GATE: u32 = 5;
const CALL_GATE_32: u32 = 0xC;
const TSS_16: u32 = 1;
const TSS_32: u32 = 9;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Jmp_ptr1616 | Code::Jmp_ptr1632 => far_jump_direct,
        Code::Jmp_m1616 => far_jump_memory::<u16>,
        Code::Jmp_m1632 => far_jump_memory::<u32>,
        Code::Jmp_m1664 => far_jump_memory::<u64>,
        Code::Call_ptr1616 => far_call_direct::<2>,
        Code::Call_ptr1632 => far_call_direct::<4>,
        Code::Call_m1616 => far_call_memory::<u16>,
        Code::Call_m1632 => far_call_memory::<u32>,
        Code::Call_m1664 => far_call_memory::<u64>,
        Code::Retfw | Code::Retfw_imm16 => far_return::<2>,
        Code::Retfd | Code::Retfd_imm16 => far_return::<4>,
        Code::Retfq | Code::Retfq_imm16 => far_return::<8>,
        _ => return None,
    })
}

fn far_jump_direct(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.far_jump(op.imm2, op.imm, op)
}

fn far_jump_memory<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (selector, offset) = cpu.far_pointer::<T>(op)?;
    cpu.far_jump(selector, offset, op)
}

fn far_call_direct<const SIZE: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.far_call(op.imm2, op.imm, SIZE, op)
}

fn far_call_memory<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (selector, offset) = cpu.far_pointer::<T>(op)?;
    cpu.far_call(selector, offset, T::BYTES as u8, op)
}

/// A code segment to enter and where: everything checked, nothing changed yet.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub descriptor: Descriptor,
    /// With the new CPL as its RPL.
    pub selector: u16,
    pub offset: u64,
}

/// A call gate: where it leads.
struct Gate {
    entry: Entry,
    cpl: u8,
    /// Operand size of the gate: 2, 4 or 8.
    size: u8,
    parameters: u64,
}

impl Cpu {
    /// Reads the far pointer that is the memory operand.
    pub(super) fn far_pointer<T: Int>(&mut self, op: &Op) -> Result<(u16, u64), Stop> {
        let at = self.ea(op);
        let offset = self.load::<T>(op.segment, at)?;
        let selector = self.load(op.segment, at.wrapping_add(T::BYTES) & op.address_mask)?;
        Ok((selector, offset.zero_extend()))
    }

    /// Whether an instruction pointer fits the code segment that it is to be loaded with.
    pub(super) fn check_target(&mut self, descriptor: Descriptor, offset: u64) -> Result<(), Stop> {
        let fits = if self.lma() && descriptor.is_long() {
            canonical(offset)
        } else {
            offset <= u64::from(descriptor.segment(0).limit)
        };
        if fits { Ok(()) } else { Err(self.gp(0)) }
    }

    /// Loads CS and RIP. The mode follows from them.
    pub(super) fn enter_code(&mut self, entry: Entry) {
        self.segments[seg::CS as usize] = entry.descriptor.segment(entry.selector);
        self.regs[RIP] = entry.offset;
        self.refresh_mode();
    }

    /// A far transfer outside protected mode.
    fn enter_real_code(&mut self, selector: u16, offset: u64) {
        self.segments[seg::CS as usize] = self.real_segment(seg::CS, selector);
        self.regs[RIP] = offset;
        self.refresh_mode();
    }

    fn check_real_target(&mut self, offset: u64) -> Result<(), Stop> {
        let limit = u64::from(self.segments[seg::CS as usize].limit);
        if offset <= limit { Ok(()) } else { Err(self.gp(0)) }
    }

    /// Checks a code segment as the direct target of a jump or call at the current privilege level.
    fn direct_target(&mut self, selector: u16, offset: u64, descriptor: Descriptor) -> Result<Entry, Stop> {
        let (dpl, cpl) = (descriptor.dpl(), self.cpl);
        let level_fits = match descriptor.is_conforming() {
            true => dpl <= cpl,
            false => dpl == cpl && rpl(selector) <= cpl,
        };
        let both_sizes = self.lma() && descriptor.is_long() && descriptor.is_big();
        if !level_fits || both_sizes {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        self.check_target(descriptor, offset)?;
        Ok(Entry { descriptor, selector: selector & !3 | u16::from(cpl), offset })
    }

    /// The descriptor that a far jump or call names.
    fn far_descriptor(&mut self, selector: u16) -> Result<Descriptor, Stop> {
        if is_null(selector) {
            return Err(self.gp(0));
        }
        let descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        let known = match descriptor.kind() {
            CALL_GATE_32 => true,
            CALL_GATE_16 | TASK_GATE | TSS_16 | TSS_32 => !self.lma(),
            _ => descriptor.is_code(),
        };
        // Gates and TSSs: the privilege to use them is checked here, that of a code segment later.
        let barred = descriptor.is_system() && self.cpl.max(rpl(selector)) > descriptor.dpl();
        if !known || barred {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        Ok(descriptor)
    }

    fn far_jump(&mut self, selector: u16, offset: u64, op: &Op) -> Result<(), Stop> {
        if !self.protected {
            self.check_real_target(offset)?;
            self.enter_real_code(selector, offset);
            return Ok(());
        }
        let descriptor = self.far_descriptor(selector)?;
        let mut entry = match descriptor.kind() {
            CALL_GATE_16 | CALL_GATE_32 => {
                let gate = self.call_gate(selector, descriptor)?;
                if gate.cpl != self.cpl {
                    return Err(self.selector_fault(vector::GP, gate.entry.selector, 0));
                }
                gate.entry
            }
            TASK_GATE | TSS_16 | TSS_32 => return self.far_task(selector, descriptor, Switch::Jump, op),
            _ => self.direct_target(selector, offset, descriptor)?,
        };
        self.mark_accessed(&mut entry.descriptor)?;
        self.enter_code(entry);
        Ok(())
    }

    fn far_call(&mut self, selector: u16, offset: u64, size: u8, op: &Op) -> Result<(), Stop> {
        let cs = u64::from(self.segments[seg::CS as usize].selector);
        let rip = self.rip();
        let mut frame = self.current_frame(0);
        if !self.protected {
            self.check_real_target(offset)?;
            self.push_frame(&mut frame, size, cs)?;
            self.push_frame(&mut frame, size, rip)?;
            self.enter_frame(&frame);
            self.enter_real_code(selector, offset);
            return Ok(());
        }
        let descriptor = self.far_descriptor(selector)?;
        let mut entry = match descriptor.kind() {
            CALL_GATE_16 | CALL_GATE_32 => return self.call_through_gate(selector, descriptor),
            TASK_GATE | TSS_16 | TSS_32 => return self.far_task(selector, descriptor, Switch::Call, op),
            _ => self.direct_target(selector, offset, descriptor)?,
        };
        self.mark_accessed(&mut entry.descriptor)?;
        self.push_frame(&mut frame, size, cs)?;
        self.push_frame(&mut frame, size, rip)?;
        self.enter_frame(&frame);
        self.enter_code(entry);
        Ok(())
    }

    /// A jump or call to a TSS, directly or through a task gate.
    fn far_task(
        &mut self,
        selector: u16,
        descriptor: Descriptor,
        switch: Switch,
        op: &Op,
    ) -> Result<(), Stop> {
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        let tss = if descriptor.kind() == TASK_GATE { (descriptor.raw >> 16) as u16 } else { selector };
        let task = self.find_task(tss, vector::GP, 0)?;
        let (flags, rewind) = (self.rflags, u64::from(op.length));
        self.task_switch(task, Request { switch, ext: 0, flags, rewind })
    }

    /// Checks a call gate and the code segment behind it.
    fn call_gate(&mut self, selector: u16, gate: Descriptor) -> Result<Gate, Stop> {
        if !gate.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        let target = (gate.raw >> 16) as u16;
        let mut offset = gate.raw & 0xFFFF | gate.raw >> 32 & 0xFFFF_0000;
        if self.lma() {
            let high = self.read_upper_half(selector, vector::GP, 0)?;
            if high >> 40 & 0x1F != 0 {
                return Err(self.selector_fault(vector::GP, selector, 0));
            }
            offset |= high << 32;
        } else if gate.kind() == CALL_GATE_16 {
            offset &= 0xFFFF;
        }
        if is_null(target) {
            return Err(self.gp(0));
        }
        let descriptor = self.read_descriptor(target, vector::GP, 0)?;
        let wrong_mode = self.lma() && (!descriptor.is_long() || descriptor.is_big());
        if !descriptor.is_code() || descriptor.dpl() > self.cpl || wrong_mode {
            return Err(self.selector_fault(vector::GP, target, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, target, 0));
        }
        let cpl = if descriptor.is_conforming() { self.cpl } else { descriptor.dpl() };
        let size = match gate.kind() {
            _ if self.lma() => 8,
            CALL_GATE_16 => 2,
            _ => 4,
        };
        let parameters = if self.lma() { 0 } else { gate.raw >> 32 & 0x1F };
        let entry = Entry { descriptor, selector: target & !3 | u16::from(cpl), offset };
        Ok(Gate { entry, cpl, size, parameters })
    }

    fn call_through_gate(&mut self, selector: u16, descriptor: Descriptor) -> Result<(), Stop> {
        let mut gate = self.call_gate(selector, descriptor)?;
        let cs = u64::from(self.segments[seg::CS as usize].selector);
        let rip = self.rip();
        let mut frame = match gate.cpl < self.cpl {
            false => self.current_frame(0),
            true if self.lma() => self.inner_frame_long(gate.cpl, 0)?,
            true => self.inner_frame(gate.cpl, 0)?,
        };
        self.check_target(gate.entry.descriptor, gate.entry.offset)?;
        self.mark_accessed(&mut gate.entry.descriptor)?;
        if gate.cpl < self.cpl {
            let ss = u64::from(self.segments[seg::SS as usize].selector);
            self.push_frame(&mut frame, gate.size, ss)?;
            self.push_frame(&mut frame, gate.size, self.regs[RSP])?;
            for i in (0..gate.parameters).rev() {
                let parameter = self.peek(i * u64::from(gate.size), gate.size)?;
                self.push_frame(&mut frame, gate.size, parameter)?;
            }
        }
        self.push_frame(&mut frame, gate.size, cs)?;
        self.push_frame(&mut frame, gate.size, rip)?;
        self.enter_frame(&frame);
        self.enter_code(gate.entry);
        Ok(())
    }
}

/// RETF, with the bytes of parameters to release in the immediate.
fn far_return<const SIZE: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let release = op.imm & 0xFFFF;
    let size = u64::from(SIZE);
    let offset = cpu.peek(0, SIZE)?;
    let selector = cpu.peek(size, SIZE)? as u16;
    if !cpu.protected {
        cpu.check_real_target(offset)?;
        cpu.set_sp(cpu.sp().wrapping_add(2 * size + release));
        cpu.enter_real_code(selector, offset);
        return Ok(());
    }
    let mut entry = cpu.return_target(selector, offset)?;
    let level = rpl(selector);
    if level == cpu.cpl {
        cpu.mark_accessed(&mut entry.descriptor)?;
        cpu.set_sp(cpu.sp().wrapping_add(2 * size + release));
        cpu.enter_code(entry);
        return Ok(());
    }
    let sp = cpu.peek(2 * size + release, SIZE)?;
    let ss = cpu.peek(3 * size + release, SIZE)? as u16;
    cpu.return_outward(entry, ss, sp, release)
}

impl Cpu {
    /// Checks the code segment that RETF or IRET is to return to, at the same or an outer level.
    pub(super) fn return_target(&mut self, selector: u16, offset: u64) -> Result<Entry, Stop> {
        if is_null(selector) {
            return Err(self.gp(0));
        }
        let descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        let (dpl, level) = (descriptor.dpl(), rpl(selector));
        let level_fits = if descriptor.is_conforming() { dpl <= level } else { dpl == level };
        let both_sizes = self.lma() && descriptor.is_long() && descriptor.is_big();
        if !descriptor.is_code() || level < self.cpl || !level_fits || both_sizes {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::NP, selector, 0));
        }
        self.check_target(descriptor, offset)?;
        Ok(Entry { descriptor, selector, offset })
    }

    /// Checks the stack segment to return to, together with the code segment.
    pub(super) fn return_stack(&mut self, entry: &Entry, selector: u16) -> Result<SegmentState, Stop> {
        let level = rpl(entry.selector);
        if is_null(selector) {
            let to_long = self.lma() && entry.descriptor.is_long();
            let allowed = to_long && level != 3 && rpl(selector) == level;
            let stack = null_stack(selector, level);
            return if allowed { Ok(stack) } else { Err(self.gp(0)) };
        }
        let mut descriptor = self.read_descriptor(selector, vector::GP, 0)?;
        if rpl(selector) != level || descriptor.dpl() != level || !descriptor.is_writable_data() {
            return Err(self.selector_fault(vector::GP, selector, 0));
        }
        if !descriptor.is_present() {
            return Err(self.selector_fault(vector::SS, selector, 0));
        }
        self.mark_accessed(&mut descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Completes a return to an outer privilege level.
    pub(super) fn return_outward(
        &mut self,
        mut entry: Entry,
        ss: u16,
        sp: u64,
        release: u64,
    ) -> Result<(), Stop> {
        let stack = self.return_stack(&entry, ss)?;
        self.mark_accessed(&mut entry.descriptor)?;
        self.segments[seg::SS as usize] = stack;
        self.enter_code(entry);
        self.set_sp(sp);
        self.set_sp(self.sp().wrapping_add(release));
        self.drop_privileged_segments();
        Ok(())
    }
}
