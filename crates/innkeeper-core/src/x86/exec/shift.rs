//! Shifts and rotations: ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD. Source: Intel SDM vol. 2.
//! Counts are masked to 5 bits (6 for 64-bit operands); a count of 0 leaves the flags alone but
//! still writes the destination.

use iced_x86::{Code, Mnemonic};

use super::flags::{Alu, Wide};
use super::operand::{Operand, by_form, operands, update};
use crate::x86::cpu::{Cpu, RCX};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

/// The result and RFLAGS; `count` is masked and not 0.
trait Shift {
    /// RCL and RCR rotate one bit more than the operand has, and count modulo that.
    const THROUGH_CARRY: bool = false;
    fn apply<T: Alu>(value: T, count: u8, flags: u64) -> (T, u64);
}

/// The same for the double shifts.
trait DoubleShift {
    fn apply<T: Wide>(value: T, filler: T, count: u8) -> (T, u64);
}

macro_rules! shifts {
    ($($name:ident $(through $carry:literal)?:
        $value:ident, $count:ident, $flags:ident => $body:expr;)*) => { $(
        struct $name;
        impl Shift for $name {
            $(const THROUGH_CARRY: bool = $carry;)?
            #[inline(always)]
            fn apply<T: Alu>($value: T, $count: u8, $flags: u64) -> (T, u64) {
                $body
            }
        }
    )* };
}

shifts! {
    Rol: value, count, flags => value.rol(count, flags);
    Ror: value, count, flags => value.ror(count, flags);
    Rcl through true: value, count, flags => value.rcl(count, flags);
    Rcr through true: value, count, flags => value.rcr(count, flags);
    Shl: value, count, _flags => value.shl(count);
    Shr: value, count, _flags => value.shr(count);
    Sar: value, count, _flags => value.sar(count);
}

struct Shld;
struct Shrd;

impl DoubleShift for Shld {
    #[inline(always)]
    fn apply<T: Wide>(value: T, filler: T, count: u8) -> (T, u64) {
        value.shld(filler, count)
    }
}

impl DoubleShift for Shrd {
    #[inline(always)]
    fn apply<T: Wide>(value: T, filler: T, count: u8) -> (T, u64) {
        value.shrd(filler, count)
    }
}

#[inline(always)]
fn masked<T: Int>(count: u64) -> u8 {
    count as u8 & if T::BYTES == 8 { 63 } else { 31 }
}

#[inline(always)]
fn shift<T: Alu, O: Shift>(value: T, count: u64, flags: u64) -> (T, u64) {
    let mut count = masked::<T>(count);
    if O::THROUGH_CARRY && T::BYTES < 4 {
        count %= T::BITS as u8 + 1;
    }
    if count == 0 { (value, flags) } else { O::apply(value, count, flags) }
}

fn shift_imm<T: Alu, const M: bool, O: Shift>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, op: &Op| (op.imm, cpu.rflags);
    update::<T, _, M>(cpu, op, inputs, |value, (count, flags)| shift::<T, O>(value, count, flags))
}

fn shift_cl<T: Alu, const M: bool, O: Shift>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, _: &Op| (cpu.regs[RCX], cpu.rflags);
    update::<T, _, M>(cpu, op, inputs, |value, (count, flags)| shift::<T, O>(value, count, flags))
}

#[inline(always)]
fn double<T: Wide, O: DoubleShift>(value: T, (count, flags, filler): (u64, u64, T)) -> (T, u64) {
    let count = masked::<T>(count);
    if count == 0 { (value, flags) } else { O::apply(value, filler, count) }
}

fn double_imm<T: Wide, const M: bool, O: DoubleShift>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, op: &Op| (op.imm, cpu.rflags, cpu.reg::<T>(op.reg));
    update::<T, _, M>(cpu, op, inputs, double::<T, O>)
}

fn double_cl<T: Wide, const M: bool, O: DoubleShift>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let inputs = |cpu: &Cpu, op: &Op| (cpu.regs[RCX], cpu.rflags, cpu.reg::<T>(op.reg));
    update::<T, _, M>(cpu, op, inputs, double::<T, O>)
}

fn select_shift<O: Shift>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Imm, _] => by_form!(1, width, memory, shift_imm, O),
        [Operand::Rm(width), Operand::Cl, _] => by_form!(1, width, memory, shift_cl, O),
        _ => return None,
    })
}

fn select_double<O: DoubleShift>(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), _, Operand::Imm] => by_form!(2, width, memory, double_imm, O),
        [Operand::Rm(width), _, Operand::Cl] => by_form!(2, width, memory, double_cl, O),
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    match code.mnemonic() {
        Mnemonic::Rol => select_shift::<Rol>(code, memory),
        Mnemonic::Ror => select_shift::<Ror>(code, memory),
        Mnemonic::Rcl => select_shift::<Rcl>(code, memory),
        Mnemonic::Rcr => select_shift::<Rcr>(code, memory),
        // SAL is the alias at /6.
        Mnemonic::Shl | Mnemonic::Sal => select_shift::<Shl>(code, memory),
        Mnemonic::Shr => select_shift::<Shr>(code, memory),
        Mnemonic::Sar => select_shift::<Sar>(code, memory),
        Mnemonic::Shld => select_double::<Shld>(code, memory),
        Mnemonic::Shrd => select_double::<Shrd>(code, memory),
        _ => None,
    }
}
