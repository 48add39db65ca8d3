//! BMI1, BMI2 and ADX: ANDN BEXTR BLSI BLSMSK BLSR BZHI PDEP PEXT RORX SARX SHLX SHRX MULX, ADCX ADOX;
//! and CRC32. Source: Intel SDM vol. 2. Flags that the manual leaves undefined come out as of an AND.

use core::arch::asm;

use iced_x86::{Code, Mnemonic};

use super::flags::Alu;
use super::operand::{Operand, by_form, operands, read};
use crate::x86::cpu::{Cpu, RDX, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

/// VEX encodings are #UD in real and virtual-8086 mode.
#[inline(always)]
fn require_protected(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.protected { Ok(()) } else { Err(cpu.ud()) }
}

/// Sets the flags of a logical result, with CF as given.
#[inline(always)]
fn set_logic<T: Alu>(cpu: &mut Cpu, result: T, carry: bool) {
    let (_, status) = result.and(result);
    cpu.set_status(status | u64::from(carry));
}

fn andn<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let (result, status) = read::<T, M>(cpu, op)?.and(cpu.reg::<T>(op.vvvv).not());
    cpu.set_reg(op.reg, result);
    cpu.set_status(status);
    Ok(())
}

/// The low `count` bits of ones; all 64 for more.
fn ones(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

fn bextr<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let source = read::<T, M>(cpu, op)?.zero_extend();
    let control = cpu.reg::<T>(op.vvvv).zero_extend();
    let (start, length) = (control & 0xFF, control >> 8 & 0xFF);
    let shifted = if start < 64 { source >> start } else { 0 };
    let result = T::truncate(shifted & ones(length));
    cpu.set_reg(op.reg, result);
    set_logic(cpu, result, false);
    Ok(())
}

fn bzhi<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let source = read::<T, M>(cpu, op)?.zero_extend();
    let index = cpu.reg::<T>(op.vvvv).zero_extend() & 0xFF;
    let result = T::truncate(source & ones(index));
    cpu.set_reg(op.reg, result);
    set_logic(cpu, result, index >= u64::from(T::BITS));
    Ok(())
}

/// BLSI, BLSMSK and BLSR: what they do with the lowest set bit.
trait LowestBit {
    fn apply(source: u64) -> u64;
    /// CF for a source of zero; BLSI has it the other way round.
    const CARRY_OF_ZERO: bool = true;
}

struct Isolate;
struct MaskUpTo;
struct Reset;

impl LowestBit for Isolate {
    const CARRY_OF_ZERO: bool = false;
    fn apply(source: u64) -> u64 {
        source & source.wrapping_neg()
    }
}

impl LowestBit for MaskUpTo {
    fn apply(source: u64) -> u64 {
        source ^ source.wrapping_sub(1)
    }
}

impl LowestBit for Reset {
    fn apply(source: u64) -> u64 {
        source & source.wrapping_sub(1)
    }
}

fn lowest_bit<T: Alu, const M: bool, A: LowestBit>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let source = read::<T, M>(cpu, op)?.zero_extend();
    let result = T::truncate(A::apply(source));
    cpu.set_reg(op.vvvv, result);
    set_logic(cpu, result, (source == 0) == A::CARRY_OF_ZERO);
    Ok(())
}

/// PDEP and PEXT: source, then mask.
macro_rules! scatter_gather {
    ($name:ident, $text:literal) => {
        fn $name<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
            require_protected(cpu)?;
            let mask = read::<T, M>(cpu, op)?.zero_extend();
            let source = cpu.reg::<T>(op.vvvv).zero_extend();
            let result: u64;
            // SAFETY: register arithmetic; BMI2 is presented to a guest only where the host has it.
            unsafe {
                asm!(
                    $text, lateout(reg) result, in(reg) source, in(reg) mask,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            cpu.set_reg(op.reg, T::truncate(result));
            Ok(())
        }
    };
}

scatter_gather!(pdep, "pdep {}, {}, {}");
scatter_gather!(pext, "pext {}, {}, {}");

/// The shifts without flags: value, then a count that is already masked.
trait PlainShift {
    fn apply<T: Int>(value: T, count: u32) -> u64;
}

struct Left;
struct Right;
struct Arithmetic;

impl PlainShift for Left {
    fn apply<T: Int>(value: T, count: u32) -> u64 {
        value.zero_extend() << count
    }
}

impl PlainShift for Right {
    fn apply<T: Int>(value: T, count: u32) -> u64 {
        value.zero_extend() >> count
    }
}

impl PlainShift for Arithmetic {
    fn apply<T: Int>(value: T, count: u32) -> u64 {
        (value.sign_extend() as i64 >> count) as u64
    }
}

fn shift<T: Int, const M: bool, A: PlainShift>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let value = read::<T, M>(cpu, op)?;
    let count = cpu.regs[op.vvvv as usize] as u32 & (T::BITS - 1);
    cpu.set_reg(op.reg, T::truncate(A::apply(value, count)));
    Ok(())
}

fn rorx<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let value = read::<T, M>(cpu, op)?.zero_extend();
    let count = op.imm as u32 & (T::BITS - 1);
    let result = value >> count | value.checked_shl(T::BITS - count).unwrap_or(0);
    cpu.set_reg(op.reg, T::truncate(result));
    Ok(())
}

/// With one register for both halves the high one stays.
fn mulx<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    require_protected(cpu)?;
    let factor = read::<T, M>(cpu, op)?;
    let (low, high, _) = cpu.reg::<T>(RDX as u8).mul(factor);
    cpu.set_reg(op.vvvv, low);
    cpu.set_reg(op.reg, high);
    Ok(())
}

/// ADCX and ADOX: addition with the carry in one flag, `FLAG`, and no other touched.
fn add_carry<T: Alu, const M: bool, const FLAG: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let addend = read::<T, M>(cpu, op)?;
    let carry = u64::from(cpu.has_flag(FLAG)); // in CF's place
    let (sum, status) = cpu.reg::<T>(op.reg).adc(addend, carry);
    cpu.set_reg(op.reg, sum);
    cpu.set_flag(FLAG, status & flag::CF != 0);
    Ok(())
}

/// CRC32: accumulates in 32 bits, and clears the upper half of a 64-bit destination too.
fn crc32<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let source = read::<T, M>(cpu, op)?.zero_extend();
    let mut crc = u64::from(cpu.reg::<u32>(op.reg));
    // SAFETY: register arithmetic; SSE4.2 is presented to a guest only where the host has it.
    unsafe {
        match T::BYTES {
            1 => asm!("crc32 {0:e}, {1:l}", inout(reg) crc, in(reg) source, options(pure, nomem, nostack)),
            2 => asm!("crc32 {0:e}, {1:x}", inout(reg) crc, in(reg) source, options(pure, nomem, nostack)),
            4 => asm!("crc32 {0:e}, {1:e}", inout(reg) crc, in(reg) source, options(pure, nomem, nostack)),
            _ => asm!("crc32 {0:r}, {1:r}", inout(reg) crc, in(reg) source, options(pure, nomem, nostack)),
        }
    }
    cpu.set_reg(op.reg, crc as u32);
    Ok(())
}

fn adcx<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    add_carry::<T, M, { flag::CF }>(cpu, op)
}

fn adox<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    add_carry::<T, M, { flag::OF }>(cpu, op)
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    use Operand::{Absent, Imm, Reg, Rm, Vvvv};
    let width = match operands(code) {
        [Reg(_), Rm(width), Vvvv(_) | Imm | Absent] => width,
        [Reg(_), Vvvv(_), Rm(width)] => width,
        [Vvvv(_), Rm(width), Absent] => width,
        _ => return None,
    };
    Some(match code.mnemonic() {
        Mnemonic::Andn => by_form!(2, width, memory, andn),
        Mnemonic::Bextr => by_form!(2, width, memory, bextr),
        Mnemonic::Bzhi => by_form!(2, width, memory, bzhi),
        Mnemonic::Blsi => by_form!(2, width, memory, lowest_bit, Isolate),
        Mnemonic::Blsmsk => by_form!(2, width, memory, lowest_bit, MaskUpTo),
        Mnemonic::Blsr => by_form!(2, width, memory, lowest_bit, Reset),
        Mnemonic::Pdep => by_form!(2, width, memory, pdep),
        Mnemonic::Pext => by_form!(2, width, memory, pext),
        Mnemonic::Shlx => by_form!(2, width, memory, shift, Left),
        Mnemonic::Shrx => by_form!(2, width, memory, shift, Right),
        Mnemonic::Sarx => by_form!(2, width, memory, shift, Arithmetic),
        Mnemonic::Rorx => by_form!(2, width, memory, rorx),
        Mnemonic::Mulx => by_form!(2, width, memory, mulx),
        Mnemonic::Adcx => by_form!(2, width, memory, adcx),
        Mnemonic::Adox => by_form!(2, width, memory, adox),
        Mnemonic::Crc32 => by_form!(1, width, memory, crc32),
        _ => return None,
    })
}
