//! Near control transfer: JMP CALL RET, Jcc, LOOPcc, JCXZ and their kin. Source: Intel SDM vol. 2.
//! A target is checked before anything changes, so a bad one faults at the branch. Far transfers are
//! system instructions.

use iced_x86::{Code, Mnemonic};

use super::flags::{condition, holds};
use super::operand::{Operand, by_condition, by_form, operands, with};
use crate::x86::cpu::{Cpu, RCX, RIP, RSP, flag};
use crate::x86::fault::Stop;
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op, seg};
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
    with::<T, M>(cpu, op, |cpu, _, target| go::<T>(cpu, target.zero_extend()))
}

fn jcc<T: Int, const C: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if holds::<C>(cpu.rflags) { go_relative::<T>(cpu, op) } else { Ok(()) }
}

#[inline(always)]
fn call<T: Int>(cpu: &mut Cpu, target: u64) -> Result<(), Stop> {
    let Ok(target) = checked::<T>(cpu, target) else { return Err(bad_call::<T>(cpu)) };
    let back = T::truncate(cpu.rip());
    if !cpu.quick_push(back) {
        return push_and_go(cpu, back, target);
    }
    cpu.regs[RIP] = target;
    Ok(())
}

/// The fault of a call to a bad target (which is `cpu.fault`), unless the stack faults: that is used
/// first.
#[cold]
fn bad_call<T: Int>(cpu: &mut Cpu) -> Stop {
    let bad_target = cpu.fault;
    let sp = cpu.sp().wrapping_sub(T::BYTES) & cpu.stack_mask;
    if let Err(stop) = cpu.probe_write(seg::SS, sp, T::BYTES) {
        return stop;
    }
    cpu.fault = bad_target;
    Stop::Fault
}

#[inline(never)]
fn push_and_go<T: Int>(cpu: &mut Cpu, back: T, target: u64) -> Result<(), Stop> {
    cpu.push(back)?;
    cpu.regs[RIP] = target;
    Ok(())
}

fn call_relative<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    call::<T>(cpu, cpu.rip().wrapping_add(op.imm))
}

fn call_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, _, target| call::<T>(cpu, target.zero_extend()))
}

/// RET; the immediate form releases that many bytes more.
fn ret<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    match cpu.quick_load::<T>(cpu.regs[RSP]) {
        Some(target) => ret_to(cpu, op, target),
        None => ret_slowly::<T>(cpu, op),
    }
}

#[inline(never)]
fn ret_slowly<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let target = cpu.load::<T>(seg::SS, cpu.sp())?;
    ret_to(cpu, op, target)
}

#[inline(always)]
fn ret_to<T: Int>(cpu: &mut Cpu, op: &Op, target: T) -> Result<(), Stop> {
    go::<T>(cpu, target.zero_extend())?;
    cpu.set_sp(cpu.sp().wrapping_add(T::BYTES).wrapping_add(op.imm));
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

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, RCX, RIP, RSP, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{ABSENT, CODE, STACK, machine, machine_16, machine_32, peek, poke, run};

    const NON_CANONICAL: u64 = 0x8000_0000_0000;

    #[test]
    fn call_pushes_the_return_address_and_ret_takes_it() {
        let mut cpu = machine(&[0xE8, 0x02, 0, 0, 0, 0xEB, 0x01, 0xC3]); // call f; jmp end; f: ret
        run(&mut cpu).unwrap();
        assert_eq!((cpu.rip(), cpu.regs[RSP]), (CODE + 8, STACK));
        assert_eq!(peek(&cpu, STACK - 8), (CODE + 5).to_le_bytes());
    }

    #[test]
    fn ret_releases_its_immediate() {
        let mut cpu = machine(&[0xC2, 0x10, 0x00]); // ret 16
        cpu.regs[RSP] -= 0x20;
        poke(&cpu, STACK - 0x20, &(CODE + 3).to_le_bytes());
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RSP], STACK - 0x20 + 8 + 16);
    }

    #[test]
    fn a_bad_target_faults_at_the_branch() {
        for code in [[0xFF, 0xE0], [0xFF, 0xD0]] {
            let mut cpu = machine(&code); // jmp rax, call rax
            cpu.regs[RAX] = NON_CANONICAL;
            assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
            assert_eq!((cpu.rip(), cpu.regs[RSP]), (CODE, STACK));
            let mut cpu = machine_32(&code);
            cpu.segments[1].limit = 0xF_FFFF;
            cpu.regs[RAX] = 0x10_0000;
            assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
            assert_eq!((cpu.rip(), cpu.regs[RSP]), (CODE, STACK));
        }
        let mut cpu = machine(&[0xC3]); // ret
        cpu.regs[RSP] -= 8;
        poke(&cpu, STACK - 8, &NON_CANONICAL.to_le_bytes());
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
        assert_eq!((cpu.rip(), cpu.regs[RSP]), (CODE, STACK - 8));
    }

    #[test]
    fn a_call_that_cannot_push_stays() {
        let mut cpu = machine(&[0xE8, 0, 0, 0, 0]);
        cpu.regs[RSP] = ABSENT + 8;
        let fault = run(&mut cpu).unwrap_err();
        assert_eq!((fault.vector, fault.error, fault.address), (vector::PF, 2, ABSENT));
        assert_eq!((cpu.rip(), cpu.regs[RSP]), (CODE, ABSENT + 8));
    }

    #[test]
    fn sixteen_bit_branches_wrap() {
        let mut cpu = machine_16(&[0xE9, 0xED, 0xFF]); // jmp 0FFF0h
        poke(&cpu, CODE + 0xFFF0, &[0xE9, 0x0D, 0x01]); // jmp 100h
        poke(&cpu, CODE + 0x100, &[0xF4]);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.rip(), 0x100);
    }

    #[test]
    fn loops_count_at_their_address_size() {
        let mut cpu = machine(&[0xB9, 5, 0, 0, 0, 0xFF, 0xC0, 0xE2, 0xFC]); // mov ecx, 5; l: inc eax; loop l
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RCX]), (5, 0));
        let mut cpu = machine(&[0x67, 0xE2, 0x02, 0xFF, 0xC0]); // a32 loop end; inc eax
        cpu.regs[RCX] = 0xFFFF_FFFF_0000_0001;
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RCX]), (1, 0));
        let mut cpu = machine(&[0xE1, 0x02, 0xFF, 0xC0]); // loope end; inc eax
        (cpu.regs[RCX], cpu.rflags) = (2, flag::FIXED | flag::ZF);
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RCX]), (0, 1));
        let mut cpu = machine(&[0xE0, 0x02, 0xFF, 0xC0]); // loopne end; inc eax
        (cpu.regs[RCX], cpu.rflags) = (2, flag::FIXED | flag::ZF);
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RCX]), (1, 1));
    }

    #[test]
    fn jcc_follows_the_flags() {
        let mut cpu = machine(&[]);
        poke(&cpu, CODE + 2, &[0xF4]);
        poke(&cpu, CODE + 0x12, &[0xF4]);
        for condition in 0..16 {
            poke(&cpu, CODE, &[0x70 | condition, 0x10]);
            for flags in (0..=0xFFF_u64).filter(|flags| flags & !flag::STATUS == 0) {
                (cpu.rflags, cpu.regs[RIP]) = (flags | flag::FIXED, CODE);
                run(&mut cpu).unwrap();
                let is = |flag: u64| flags & flag != 0;
                let expected = match condition >> 1 {
                    0 => is(flag::OF),
                    1 => is(flag::CF),
                    2 => is(flag::ZF),
                    3 => is(flag::CF) || is(flag::ZF),
                    4 => is(flag::SF),
                    5 => is(flag::PF),
                    6 => is(flag::SF) != is(flag::OF),
                    _ => is(flag::ZF) || is(flag::SF) != is(flag::OF),
                };
                let taken = cpu.rip() == CODE + 0x12;
                assert_eq!(taken, expected != (condition & 1 == 1), "{condition} {flags:x}");
            }
        }
    }
}
