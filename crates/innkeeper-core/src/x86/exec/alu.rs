//! Integer arithmetic and logic: ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT.
//! Source: Intel SDM vol. 2.

use iced_x86::{Code, Mnemonic};

use super::flags::Alu;
use super::operand::{Operand, by_form, by_width, operands, update, with};
use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

/// A two-operand instruction: the result and the status flags.
trait Binary {
    fn apply<T: Alu>(a: T, b: T, flags: u64) -> (T, u64);
}

/// A one-operand instruction: the result and RFLAGS with its status flags replaced.
trait Unary {
    fn apply<T: Alu>(a: T, flags: u64) -> (T, u64);
}

macro_rules! binary {
    ($($name:ident: $a:ident, $b:ident, $flags:ident => $body:expr;)*) => { $(
        struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<T: Alu>($a: T, $b: T, $flags: u64) -> (T, u64) {
                $body
            }
        }
    )* };
}

binary! {
    Add: a, b, _flags => a.add(b);
    Adc: a, b, flags => a.adc(b, flags);
    Sub: a, b, _flags => a.sub(b);
    Sbb: a, b, flags => a.sbb(b, flags);
    And: a, b, _flags => a.and(b);
    Or: a, b, _flags => a.or(b);
    Xor: a, b, _flags => a.xor(b);
}

macro_rules! unary {
    ($($name:ident: $a:ident, $flags:ident => $body:expr;)*) => { $(
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<T: Alu>($a: T, $flags: u64) -> (T, u64) {
                $body
            }
        }
    )* };
}

unary! {
    Inc: a, flags => a.inc(flags);
    Dec: a, flags => a.dec(flags);
    Neg: a, _flags => a.neg();
    Not: a, flags => (a.not(), flags);
}

// ---- with a result ------------------------------------------------------------------------------

fn rm_reg<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, op: &Op| (cpu.reg::<T>(op.reg), cpu.rflags);
    update::<T, _, M>(cpu, op, inputs, |a, (b, flags)| O::apply(a, b, flags))
}

fn rm_imm<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, op: &Op| (T::truncate(op.imm), cpu.rflags);
    update::<T, _, M>(cpu, op, inputs, |a, (b, flags)| O::apply(a, b, flags))
}

fn reg_rm<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, b| {
        let (result, status) = O::apply(cpu.reg::<T>(op.reg), b, cpu.rflags);
        cpu.set_reg(op.reg, result);
        cpu.set_status(status);
        Ok(())
    })
}

fn reg_imm<T: Alu, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (result, status) = O::apply(cpu.reg::<T>(op.reg), T::truncate(op.imm), cpu.rflags);
    cpu.set_reg(op.reg, result);
    cpu.set_status(status);
    Ok(())
}

fn unary_rm<T: Alu, const M: bool, O: Unary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    update::<T, _, M>(cpu, op, |cpu, _| cpu.rflags, |a, flags| O::apply(a, flags))
}

/// INC and DEC with the register in the opcode.
fn unary_reg<T: Alu, O: Unary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (result, status) = O::apply(cpu.reg::<T>(op.reg), cpu.rflags);
    cpu.set_reg(op.reg, result);
    cpu.set_status(status);
    Ok(())
}

// ---- flags only: CMP (as SUB) and TEST (as AND) -------------------------------------------------

#[inline(always)]
fn compare<T: Alu, O: Binary>(cpu: &mut Cpu, a: T, b: T) -> Result<(), Stop> {
    let (_, status) = O::apply(a, b, 0);
    cpu.set_status(status);
    Ok(())
}

fn compare_rm_reg<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, a| compare::<T, O>(cpu, a, cpu.reg(op.reg)))
}

fn compare_rm_imm<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, a| compare::<T, O>(cpu, a, T::truncate(op.imm)))
}

fn compare_reg_rm<T: Alu, const M: bool, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, b| compare::<T, O>(cpu, cpu.reg(op.reg), b))
}

fn compare_reg_imm<T: Alu, O: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let a = cpu.reg(op.reg);
    compare::<T, O>(cpu, a, T::truncate(op.imm))
}

// ---- selection ----------------------------------------------------------------------------------

fn select_binary<O: Binary>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Reg(_), Operand::Absent] => by_form!(1, width, memory, rm_reg, O),
        [Operand::Rm(width), Operand::Imm, Operand::Absent] => by_form!(1, width, memory, rm_imm, O),
        [Operand::Reg(width), Operand::Rm(_), Operand::Absent] => by_form!(1, width, memory, reg_rm, O),
        [Operand::Reg(width), Operand::Imm, Operand::Absent] => by_width!(1, width, reg_imm, O),
        _ => return None,
    })
}

fn select_compare<O: Binary>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Reg(_), Operand::Absent] => {
            by_form!(1, width, memory, compare_rm_reg, O)
        }
        [Operand::Rm(width), Operand::Imm, Operand::Absent] => by_form!(1, width, memory, compare_rm_imm, O),
        [Operand::Reg(width), Operand::Rm(_), Operand::Absent] => {
            by_form!(1, width, memory, compare_reg_rm, O)
        }
        [Operand::Reg(width), Operand::Imm, Operand::Absent] => by_width!(1, width, compare_reg_imm, O),
        _ => return None,
    })
}

fn select_unary<O: Unary>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Absent, _] => by_form!(1, width, memory, unary_rm, O),
        [Operand::Reg(width), Operand::Absent, _] => by_width!(1, width, unary_reg, O),
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    match code.mnemonic() {
        Mnemonic::Add => select_binary::<Add>(code, memory),
        Mnemonic::Adc => select_binary::<Adc>(code, memory),
        Mnemonic::Sub => select_binary::<Sub>(code, memory),
        Mnemonic::Sbb => select_binary::<Sbb>(code, memory),
        Mnemonic::And => select_binary::<And>(code, memory),
        Mnemonic::Or => select_binary::<Or>(code, memory),
        Mnemonic::Xor => select_binary::<Xor>(code, memory),
        Mnemonic::Cmp => select_compare::<Sub>(code, memory),
        Mnemonic::Test => select_compare::<And>(code, memory),
        Mnemonic::Inc => select_unary::<Inc>(code, memory),
        Mnemonic::Dec => select_unary::<Dec>(code, memory),
        Mnemonic::Neg => select_unary::<Neg>(code, memory),
        Mnemonic::Not => select_unary::<Not>(code, memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, RSI};
    use crate::x86::fault::vector;
    use crate::x86::testing::{ABSENT, DATA, READ_ONLY, machine, peek, poke, run};

    #[test]
    fn add_sets_all_flags() {
        // mov eax, 7fffffffh; add eax, 1
        let mut cpu = machine(&[0xB8, 0xFF, 0xFF, 0xFF, 0x7F, 0x83, 0xC0, 0x01]);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 0x8000_0000);
        assert_eq!(cpu.rflags, 0x896, "OF SF AF PF");
    }

    #[test]
    fn a_store_that_faults_leaves_the_flags() {
        for (address, error) in [(ABSENT, 2), (READ_ONLY, 3)] {
            let mut cpu = machine(&[0x48, 0x01, 0x06]); // add [rsi], rax
            (cpu.regs[RSI], cpu.regs[RAX]) = (address, 1 << 63);
            let before = cpu.rflags;
            let fault = run(&mut cpu).unwrap_err();
            assert_eq!((fault.vector, fault.error, fault.address), (vector::PF, error, address));
            assert_eq!(cpu.rflags, before);
        }
    }

    #[test]
    fn cmp_and_test_only_read() {
        let mut cpu = machine(&[0x48, 0x39, 0x06, 0x48, 0x85, 0x06]); // cmp [rsi], rax; test [rsi], rax
        cpu.regs[RSI] = READ_ONLY;
        run(&mut cpu).unwrap();
    }

    #[test]
    fn a_locked_operand_may_cross_pages() {
        let mut cpu = machine(&[0xF0, 0x48, 0xFF, 0x06]); // lock inc qword [rsi]
        poke(&cpu, DATA + 0xFFD, &0xFF_FFFFu64.to_le_bytes());
        cpu.regs[RSI] = DATA + 0xFFD;
        run(&mut cpu).unwrap();
        assert_eq!(peek(&cpu, DATA + 0xFFD), 0x100_0000u64.to_le_bytes());
    }
}
