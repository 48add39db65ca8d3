//! The stack: PUSH POP PUSHA POPA ENTER LEAVE PUSHF POPF. Source: Intel SDM vol. 2; vol. 1, 6.2 and 6.5.
//! Segment registers are pushed and popped among the system instructions.

use iced_x86::{Code, Mnemonic};

use super::operand::{Operand, by_form, by_width, operands, read, write};
use crate::x86::attention::LOCAL;
use crate::x86::cpu::{Cpu, RBP, RSP, cr, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::word::Int;

fn push_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.reg::<T>(op.reg);
    cpu.push(value)
}

fn push_imm<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.push(T::truncate(op.imm))
}

fn push_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = read::<T, M>(cpu, op)?;
    cpu.push(value)
}

/// POP rSP leaves the value read, not the increment.
fn pop_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.pop::<T>()?;
    cpu.set_reg(op.reg, value);
    Ok(())
}

/// An address based on rSP is computed after the increment.
fn pop_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let before = cpu.regs[RSP];
    let value = cpu.pop::<T>()?;
    let written = write::<T, M>(cpu, op, value);
    if written.is_err() {
        cpu.regs[RSP] = before;
    }
    written
}

/// PUSHA: the stored rSP is that before the first push.
fn pusha<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let sp = cpu.sp();
    let slot = |number: u64| sp.wrapping_sub((number + 1) * T::BYTES) & cpu.stack_mask;
    let slots: [u64; 8] = std::array::from_fn(|number| slot(number as u64));
    // All or nothing: the stack may wrap, so each slot is looked at by itself.
    for at in slots {
        cpu.probe_write(seg::SS, at, T::BYTES)?;
    }
    for (number, at) in slots.into_iter().enumerate() {
        let value = cpu.reg::<T>(number as u8);
        cpu.store(seg::SS, at, value)?;
    }
    cpu.set_sp(slots[7]);
    Ok(())
}

fn popa<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let sp = cpu.sp();
    let mut values = [T::truncate(0); 8];
    for (number, value) in values.iter_mut().enumerate() {
        let at = sp.wrapping_add((7 - number as u64) * T::BYTES) & cpu.stack_mask;
        *value = cpu.load(seg::SS, at)?;
    }
    for (number, value) in values.into_iter().enumerate().filter(|&(number, _)| number != RSP) {
        cpu.set_reg(number as u8, value);
    }
    cpu.set_sp(sp.wrapping_add(8 * T::BYTES));
    Ok(())
}

/// ENTER: a frame with `imm2 & 31` pointers to enclosing frames and `imm` bytes of room.
fn enter<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (room, level) = (op.imm & 0xFFFF, u64::from(op.imm2) & 31);
    let (mask, before) = (cpu.stack_mask, cpu.regs[RSP]);
    let done = push_frame::<T>(cpu, level);
    let Ok(frame) = done else {
        cpu.regs[RSP] = before;
        return done.map(|_| ());
    };
    let sp = cpu.sp().wrapping_sub(room) & mask;
    // The new top of stack must be writable, though nothing is written there.
    if let Err(stop) = cpu.probe_write(seg::SS, sp, T::BYTES) {
        cpu.regs[RSP] = before;
        return Err(stop);
    }
    cpu.set_reg(RBP as u8, frame);
    cpu.set_sp(sp);
    Ok(())
}

/// Pushes rBP and the enclosing frames' pointers; gives the new frame's.
fn push_frame<T: Int>(cpu: &mut Cpu, level: u64) -> Result<T, Stop> {
    let saved = cpu.reg::<T>(RBP as u8);
    cpu.push(saved)?;
    let frame = T::truncate(cpu.regs[RSP]);
    let mut from = cpu.regs[RBP];
    for _ in 1..level {
        from = from.wrapping_sub(T::BYTES);
        let pointer = cpu.load::<T>(seg::SS, from & cpu.stack_mask)?;
        cpu.push(pointer)?;
    }
    if level > 0 {
        cpu.push(frame)?;
    }
    Ok(frame)
}

fn leave<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let frame = cpu.regs[RBP] & cpu.stack_mask;
    let saved = cpu.load::<T>(seg::SS, frame)?;
    cpu.set_sp(frame.wrapping_add(T::BYTES));
    cpu.set_reg(RBP as u8, saved);
    Ok(())
}

// ---- flags --------------------------------------------------------------------------------------

/// Whether virtual-8086 code may not touch the real IF: IOPL < 3.
fn v86_restricted(cpu: &Cpu) -> bool {
    cpu.v86() && cpu.iopl() < 3
}

/// Restricted virtual-8086 code works on VIF in place of IF, in the 16-bit forms only.
fn vme<T: Int>(cpu: &Cpu) -> bool {
    T::BYTES == 2 && cpu.cr4 & cr::CR4_VME != 0
}

fn pushf<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let mut image = cpu.rflags & !(flag::VM | flag::RF);
    if v86_restricted(cpu) {
        if !vme::<T>(cpu) {
            return Err(cpu.gp(0));
        }
        let virtual_if = if cpu.has_flag(flag::VIF) { flag::IF } else { 0 };
        image = image & !flag::IF | flag::IOPL | virtual_if;
    }
    cpu.push(T::truncate(image))
}

/// All that POPF may ever load.
const POPPED: u64 =
    flag::STATUS | flag::TF | flag::IF | flag::DF | flag::IOPL | flag::NT | flag::AC | flag::ID;

fn popf<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if v86_restricted(cpu) {
        return popf_virtual::<T>(cpu, op);
    }
    let width = if T::BYTES == 2 { 0xFFFF } else { u64::MAX };
    let mut loaded = POPPED & width;
    if cpu.cpl > 0 {
        loaded &= !flag::IOPL;
    }
    if cpu.cpl > cpu.iopl() {
        loaded &= !flag::IF;
    }
    let image = cpu.pop::<T>()?.zero_extend();
    load_flags(cpu, image, loaded);
    if T::BYTES > 2 {
        cpu.rflags &= !flag::RF;
    }
    Ok(())
}

/// POPF with CR4.VME in virtual-8086 mode with IOPL < 3 (Intel SDM vol. 3, 21.3).
fn popf_virtual<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if !vme::<T>(cpu) {
        return Err(cpu.gp(0));
    }
    let before = cpu.regs[RSP];
    let image = cpu.pop::<T>()?.zero_extend();
    let wants_interrupts = image & flag::IF != 0;
    if image & flag::TF != 0 || (wants_interrupts && cpu.has_flag(flag::VIP)) {
        cpu.regs[RSP] = before;
        return Err(cpu.gp(0));
    }
    load_flags(cpu, image, POPPED & 0xFFFF & !(flag::IOPL | flag::IF));
    cpu.set_flag(flag::VIF, wants_interrupts);
    Ok(())
}

/// Loads the flags in `mask` and sees to what hangs on them.
#[inline(always)]
fn load_flags(cpu: &mut Cpu, image: u64, mask: u64) {
    let changed = (cpu.rflags ^ image) & mask;
    cpu.rflags ^= changed;
    if changed & (flag::TF | flag::IF | flag::AC) == 0 {
        return;
    }
    if changed & flag::IF != 0 {
        cpu.stats.interrupt_flag_changes.add(1);
        if cpu.has_flag(flag::IF) {
            cpu.attention.raise(LOCAL);
            cpu.leave = true;
        }
    }
    if changed & flag::TF != 0 {
        cpu.leave = true; // the run loop steps from here
    }
    if changed & flag::AC != 0 {
        cpu.refresh_tlb_view();
    }
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    Some(match (code.mnemonic(), operands(code)) {
        (Mnemonic::Push, [Operand::Reg(width), ..]) => by_width!(2, width, push_reg),
        (Mnemonic::Push, [Operand::Rm(width), ..]) => by_form!(2, width, memory, push_rm),
        (Mnemonic::Pop, [Operand::Reg(width), ..]) => by_width!(2, width, pop_reg),
        (Mnemonic::Pop, [Operand::Rm(width), ..]) => by_form!(2, width, memory, pop_rm),
        _ => return select_implied(code),
    })
}

fn select_implied(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Push_imm16 | Code::Pushw_imm8 => push_imm::<u16>,
        Code::Pushd_imm32 | Code::Pushd_imm8 => push_imm::<u32>,
        Code::Pushq_imm32 | Code::Pushq_imm8 => push_imm::<u64>,
        Code::Pushaw => pusha::<u16>,
        Code::Pushad => pusha::<u32>,
        Code::Popaw => popa::<u16>,
        Code::Popad => popa::<u32>,
        Code::Enterw_imm16_imm8 => enter::<u16>,
        Code::Enterd_imm16_imm8 => enter::<u32>,
        Code::Enterq_imm16_imm8 => enter::<u64>,
        Code::Leavew => leave::<u16>,
        Code::Leaved => leave::<u32>,
        Code::Leaveq => leave::<u64>,
        Code::Pushfw => pushf::<u16>,
        Code::Pushfd => pushf::<u32>,
        Code::Pushfq => pushf::<u64>,
        Code::Popfw => popf::<u16>,
        Code::Popfd => popf::<u32>,
        Code::Popfq => popf::<u64>,
        _ => return None,
    })
}
