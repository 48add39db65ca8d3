//! Single bits and counts of bits: BT BTS BTR BTC, BSF BSR TZCNT LZCNT POPCNT. Source: Intel SDM vol. 2.
//! Flags that the manual leaves undefined keep their value, but for BSF and BSR, where they are the
//! host's.

use iced_x86::{Code, Mnemonic};

use super::flags::Wide;
use super::operand::{Operand, by_form, operands, read};
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, LOCK, Op};
use crate::x86::word::Int;

/// What happens to the bit after it was copied to CF.
trait BitAction {
    const WRITES: bool = true;
    fn apply(value: u64, bit: u64) -> u64;
}

struct Test;
struct Set;
struct Reset;
struct Complement;

impl BitAction for Test {
    const WRITES: bool = false;
    fn apply(value: u64, _bit: u64) -> u64 {
        value
    }
}

impl BitAction for Set {
    fn apply(value: u64, bit: u64) -> u64 {
        value | bit
    }
}

impl BitAction for Reset {
    fn apply(value: u64, bit: u64) -> u64 {
        value & !bit
    }
}

impl BitAction for Complement {
    fn apply(value: u64, bit: u64) -> u64 {
        value ^ bit
    }
}

/// Acts on a bit of a register.
#[inline(always)]
fn in_register<T: Int, A: BitAction>(cpu: &mut Cpu, op: &Op, number: u64) {
    let bit = 1 << (number & u64::from(T::BITS - 1));
    let value = cpu.reg::<T>(op.rm);
    if A::WRITES {
        cpu.set_reg(op.rm, T::truncate(A::apply(value.zero_extend(), bit)));
    }
    cpu.set_flag(flag::CF, value.zero_extend() & bit != 0);
}

/// Acts on a bit of the word at `address`.
#[inline(always)]
fn in_memory<T: Int, A: BitAction>(cpu: &mut Cpu, op: &Op, address: u64, number: u64) -> Result<(), Stop> {
    let bit = 1 << (number & u64::from(T::BITS - 1));
    let value = if A::WRITES {
        let change = |value: T| T::truncate(A::apply(value.zero_extend(), bit));
        cpu.modify::<T>(op.segment, address, op.prefixes & LOCK != 0, change)?
    } else {
        cpu.load::<T>(op.segment, address)?
    };
    cpu.set_flag(flag::CF, value.zero_extend() & bit != 0);
    Ok(())
}

/// The bit number is a signed register: in memory it reaches beyond the word at the operand's address.
fn bit_reg<T: Int, const M: bool, A: BitAction>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let number = cpu.reg::<T>(op.reg).sign_extend();
    if M {
        let words = (number as i64) >> T::BITS.trailing_zeros();
        let distance = (words as u64).wrapping_mul(T::BYTES);
        let address = cpu.ea(op).wrapping_add(distance) & op.address_mask;
        in_memory::<T, A>(cpu, op, address, number)
    } else {
        in_register::<T, A>(cpu, op, number);
        Ok(())
    }
}

fn bit_imm<T: Int, const M: bool, A: BitAction>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if M {
        in_memory::<T, A>(cpu, op, cpu.ea(op), op.imm)
    } else {
        in_register::<T, A>(cpu, op, op.imm);
        Ok(())
    }
}

// ---- scans and counts ---------------------------------------------------------------------------

/// BSF and BSR leave the destination alone if the source is 0.
fn scan_forward<T: Wide, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?;
    let (index, status) = source.bsf();
    if status & flag::ZF == 0 {
        cpu.set_reg(op.reg, index);
    }
    cpu.set_status(status);
    Ok(())
}

fn scan_reverse<T: Wide, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?;
    let (index, status) = source.bsr();
    if status & flag::ZF == 0 {
        cpu.set_reg(op.reg, index);
    }
    cpu.set_status(status);
    Ok(())
}

/// TZCNT and LZCNT: CF for a source of 0, ZF for a count of 0.
#[inline(always)]
fn set_count<T: Int>(cpu: &mut Cpu, op: &Op, count: u32) {
    cpu.set_reg(op.reg, T::truncate(u64::from(count)));
    cpu.set_flag(flag::CF, count == T::BITS);
    cpu.set_flag(flag::ZF, count == 0);
}

fn tzcnt<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?.zero_extend();
    set_count::<T>(cpu, op, source.trailing_zeros().min(T::BITS));
    Ok(())
}

fn lzcnt<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?.zero_extend();
    set_count::<T>(cpu, op, source.leading_zeros() - (64 - T::BITS));
    Ok(())
}

fn popcnt<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?.zero_extend();
    cpu.set_reg(op.reg, T::truncate(u64::from(source.count_ones())));
    cpu.set_status(if source == 0 { flag::ZF } else { 0 });
    Ok(())
}

fn select_bit<A: BitAction>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Reg(_), _] => by_form!(2, width, memory, bit_reg, A),
        [Operand::Rm(width), Operand::Imm, _] => by_form!(2, width, memory, bit_imm, A),
        _ => return None,
    })
}

/// What TZCNT and LZCNT are on processors without them, which ignore their prefix: BSF and BSR.
pub fn without_prefix(code: Code) -> Option<Code> {
    Some(match code {
        Code::Tzcnt_r16_rm16 => Code::Bsf_r16_rm16,
        Code::Tzcnt_r32_rm32 => Code::Bsf_r32_rm32,
        Code::Tzcnt_r64_rm64 => Code::Bsf_r64_rm64,
        Code::Lzcnt_r16_rm16 => Code::Bsr_r16_rm16,
        Code::Lzcnt_r32_rm32 => Code::Bsr_r32_rm32,
        Code::Lzcnt_r64_rm64 => Code::Bsr_r64_rm64,
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    let mnemonic = code.mnemonic();
    match mnemonic {
        Mnemonic::Bt => return select_bit::<Test>(code, memory),
        Mnemonic::Bts => return select_bit::<Set>(code, memory),
        Mnemonic::Btr => return select_bit::<Reset>(code, memory),
        Mnemonic::Btc => return select_bit::<Complement>(code, memory),
        _ => {}
    }
    let [Operand::Reg(width), Operand::Rm(_), Operand::Absent] = operands(code) else { return None };
    Some(match mnemonic {
        Mnemonic::Bsf => by_form!(2, width, memory, scan_forward),
        Mnemonic::Bsr => by_form!(2, width, memory, scan_reverse),
        Mnemonic::Tzcnt => by_form!(2, width, memory, tzcnt),
        Mnemonic::Lzcnt => by_form!(2, width, memory, lzcnt),
        Mnemonic::Popcnt => by_form!(2, width, memory, popcnt),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use iced_x86::Decoder;

    use crate::x86::block::lower;
    use crate::x86::cpu::{RAX, RSI, flag};
    use crate::x86::testing::{DATA, machine, peek, poke, run};

    #[test]
    fn a_bit_string_reaches_in_both_directions() {
        let mut cpu = machine(&[0x48, 0x0F, 0xA3, 0x06]); // bt [rsi], rax
        poke(&cpu, DATA + 0x100 - 8, &(1u64 << 63).to_le_bytes());
        (cpu.regs[RSI], cpu.regs[RAX]) = (DATA + 0x100, u64::MAX);
        run(&mut cpu).unwrap();
        assert!(cpu.has_flag(flag::CF));
        let mut cpu = machine(&[0xF0, 0x0F, 0xAB, 0x06]); // lock bts [rsi], eax
        (cpu.regs[RSI], cpu.regs[RAX]) = (DATA, 0x1_0000_0000 | (32 * 5 + 3));
        run(&mut cpu).unwrap();
        assert!(!cpu.has_flag(flag::CF));
        assert_eq!(peek(&cpu, DATA + 20), [8]);
    }

    #[test]
    fn without_its_feature_tzcnt_is_bsf() {
        let decoded = Decoder::new(64, &[0xF3, 0x0F, 0xBC, 0xC1], 0).decode(); // tzcnt eax, ecx
        for (allowed, result) in [(true, 32), (false, 7)] {
            let mut cpu = machine(&[]);
            cpu.regs[RAX] = 7;
            let op = lower(&decoded, allowed);
            (op.handler)(&mut cpu, &op).unwrap();
            assert_eq!(cpu.regs[RAX], result);
        }
    }

    #[test]
    fn an_immediate_bit_number_stays_in_the_word() {
        let mut cpu = machine(&[0x66, 0x0F, 0xBA, 0x3E, 0x11]); // btc word [rsi], 17
        cpu.regs[RSI] = DATA;
        run(&mut cpu).unwrap();
        assert_eq!(peek(&cpu, DATA), [2, 0, 0, 0]);
    }
}
