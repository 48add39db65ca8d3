//! Near control transfer: JMP CALL RET, Jcc, LOOPcc, JCXZ and their kin. Source: Intel SDM vol. 2.
//! A target is checked before anything changes, so a bad one faults at the branch. Far transfers are
//! system instructions.

use iced_x86::{Code, Mnemonic};

use super::flags::{condition, holds};
use super::operand::{Operand, by_condition, by_form, operands, read};
use crate::x86::cpu::{Cpu, RCX, RIP, flag};
use crate::x86::fault::Stop;
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

/// Checks a target, cut to operand size `T`, as RIP.
#[inline(always)]
fn checked<T: Int>(cpu: &mut Cpu, target: u64) -> Result<u64, Stop> {
    let target = T::truncate(target).zero_extend();
    let good = if T::BYTES == 8 {
        canonical(target)
    } else {
        cpu.long || target <= u64::from(cpu.segments[1].limit)
    };
    if good { Ok(target) } else { Err(cpu.gp(0)) }
}

#[inline(always)]
fn go<T: Int>(cpu: &mut Cpu, target: u64) -> Result<(), Stop> {
    cpu.regs[RIP] = checked::<T>(cpu, target)?;
    Ok(())
}

#[inline(always)]
fn go_relative<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    go::<T>(cpu, cpu.rip().wrapping_add(op.imm))
}

fn jmp_relative<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    go_relative::<T>(cpu, op)
}

fn jmp_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let target = read::<T, M>(cpu, op)?.zero_extend();
    go::<T>(cpu, target)
}

fn jcc<T: Int, const C: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if holds::<C>(cpu.rflags) { go_relative::<T>(cpu, op) } else { Ok(()) }
}

#[inline(always)]
fn call<T: Int>(cpu: &mut Cpu, target: u64) -> Result<(), Stop> {
    let target = checked::<T>(cpu, target)?;
    let back = T::truncate(cpu.rip());
    cpu.push(back)?;
    cpu.regs[RIP] = target;
    Ok(())
}

fn call_relative<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    call::<T>(cpu, cpu.rip().wrapping_add(op.imm))
}

fn call_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let target = read::<T, M>(cpu, op)?.zero_extend();
    call::<T>(cpu, target)
}

/// RET; the immediate form releases that many bytes more.
fn ret<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let sp = cpu.sp();
    let target = cpu.load::<T>(crate::x86::op::seg::SS, sp)?.zero_extend();
    go::<T>(cpu, target)?;
    cpu.set_sp(sp.wrapping_add(T::BYTES).wrapping_add(op.imm));
    Ok(())
}

/// Which of LOOP's conditions on ZF.
const ALWAYS: u8 = 0;
const WHILE_EQUAL: u8 = 1;
const WHILE_NOT_EQUAL: u8 = 2;

/// LOOP, LOOPE, LOOPNE: counter `N` counts down, operand size `T`.
fn loop_while<T: Int, N: Int, const C: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let count = N::truncate(cpu.regs[RCX].wrapping_sub(1));
    let zero = cpu.has_flag(flag::ZF);
    let wanted = match C {
        WHILE_EQUAL => zero,
        WHILE_NOT_EQUAL => !zero,
        _ => true,
    };
    if wanted && count.zero_extend() != 0 {
        go_relative::<T>(cpu, op)?;
    }
    cpu.set_reg(RCX as u8, count);
    Ok(())
}

fn jump_if_counted_out<T: Int, N: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.reg::<N>(RCX as u8).zero_extend() == 0 { go_relative::<T>(cpu, op) } else { Ok(()) }
}

/// The operand size of a relative branch, by the operand's kind.
fn branch_width(code: Code) -> u8 {
    use iced_x86::OpCodeOperandKind as Kind;
    match code.op_code().op0_kind() {
        Kind::br16_1 | Kind::br16_2 => 2,
        Kind::br32_1 | Kind::br32_4 => 4,
        Kind::br64_1 | Kind::br64_4 => 8,
        _ => 0,
    }
}

fn select_relative(code: Code) -> Option<Handler> {
    let width = branch_width(code);
    if let Some(condition) = condition(code).filter(|_| code.is_jcc_short_or_near()) {
        return Some(match width {
            2 => by_condition!(condition, jcc, u16),
            4 => by_condition!(condition, jcc, u32),
            _ => by_condition!(condition, jcc, u64),
        });
    }
    Some(match (code.mnemonic(), width) {
        (Mnemonic::Jmp, 2) => jmp_relative::<u16>,
        (Mnemonic::Jmp, 4) => jmp_relative::<u32>,
        (Mnemonic::Jmp, 8) => jmp_relative::<u64>,
        (Mnemonic::Call, 2) => call_relative::<u16>,
        (Mnemonic::Call, 4) => call_relative::<u32>,
        (Mnemonic::Call, 8) => call_relative::<u64>,
        _ => return None,
    })
}

fn select_counted(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Loop_rel8_16_CX => loop_while::<u16, u16, ALWAYS>,
        Code::Loop_rel8_32_CX => loop_while::<u32, u16, ALWAYS>,
        Code::Loop_rel8_16_ECX => loop_while::<u16, u32, ALWAYS>,
        Code::Loop_rel8_32_ECX => loop_while::<u32, u32, ALWAYS>,
        Code::Loop_rel8_64_ECX => loop_while::<u64, u32, ALWAYS>,
        Code::Loop_rel8_16_RCX => loop_while::<u16, u64, ALWAYS>,
        Code::Loop_rel8_64_RCX => loop_while::<u64, u64, ALWAYS>,
        Code::Loope_rel8_16_CX => loop_while::<u16, u16, WHILE_EQUAL>,
        Code::Loope_rel8_32_CX => loop_while::<u32, u16, WHILE_EQUAL>,
        Code::Loope_rel8_16_ECX => loop_while::<u16, u32, WHILE_EQUAL>,
        Code::Loope_rel8_32_ECX => loop_while::<u32, u32, WHILE_EQUAL>,
        Code::Loope_rel8_64_ECX => loop_while::<u64, u32, WHILE_EQUAL>,
        Code::Loope_rel8_16_RCX => loop_while::<u16, u64, WHILE_EQUAL>,
        Code::Loope_rel8_64_RCX => loop_while::<u64, u64, WHILE_EQUAL>,
        Code::Loopne_rel8_16_CX => loop_while::<u16, u16, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_32_CX => loop_while::<u32, u16, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_16_ECX => loop_while::<u16, u32, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_32_ECX => loop_while::<u32, u32, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_64_ECX => loop_while::<u64, u32, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_16_RCX => loop_while::<u16, u64, WHILE_NOT_EQUAL>,
        Code::Loopne_rel8_64_RCX => loop_while::<u64, u64, WHILE_NOT_EQUAL>,
        Code::Jcxz_rel8_16 => jump_if_counted_out::<u16, u16>,
        Code::Jcxz_rel8_32 => jump_if_counted_out::<u32, u16>,
        Code::Jecxz_rel8_16 => jump_if_counted_out::<u16, u32>,
        Code::Jecxz_rel8_32 => jump_if_counted_out::<u32, u32>,
        Code::Jecxz_rel8_64 => jump_if_counted_out::<u64, u32>,
        Code::Jrcxz_rel8_16 => jump_if_counted_out::<u16, u64>,
        Code::Jrcxz_rel8_64 => jump_if_counted_out::<u64, u64>,
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    if branch_width(code) != 0 {
        return select_counted(code).or_else(|| select_relative(code));
    }
    Some(match code.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Call => match (code.mnemonic(), operands(code)) {
            (Mnemonic::Jmp, [Operand::Rm(width), ..]) => by_form!(2, width, memory, jmp_rm),
            (Mnemonic::Call, [Operand::Rm(width), ..]) => by_form!(2, width, memory, call_rm),
            _ => return None,
        },
        Mnemonic::Ret => match code {
            Code::Retnw | Code::Retnw_imm16 => ret::<u16>,
            Code::Retnd | Code::Retnd_imm16 => ret::<u32>,
            Code::Retnq | Code::Retnq_imm16 => ret::<u64>,
            _ => return None,
        },
        _ => return None,
    })
}
