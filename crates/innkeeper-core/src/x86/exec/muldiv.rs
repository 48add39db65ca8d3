//! Multiplication and division: MUL IMUL DIV IDIV. Source: Intel SDM vol. 2. DIV and IDIV leave the
//! status flags, which are undefined behind them, as they were.

use iced_x86::{Code, Mnemonic};

use super::flags::{Alu, Wide};
use super::operand::{Operand, by_form, operands, with};
use crate::x86::cpu::{Cpu, RAX, RDX};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

impl Cpu {
    pub(super) fn divide_error(&mut self) -> Stop {
        self.raise(vector::DE, 0)
    }

    /// Sets the pair that multiplication and division work on: AH:AL for bytes, else DX:AX.
    #[inline(always)]
    fn set_pair<T: Int>(&mut self, high: T, low: T) {
        self.set_reg(RAX as u8, low);
        // Byte registers are numbered by offset: AH is 1.
        self.set_reg(if T::BYTES == 1 { 1 } else { RDX as u8 }, high);
    }

    #[inline(always)]
    fn pair<T: Int>(&self) -> (u64, u64) {
        let high = self.reg::<T>(if T::BYTES == 1 { 1 } else { RDX as u8 });
        (high.zero_extend(), self.reg::<T>(RAX as u8).zero_extend())
    }
}

fn mul<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, _, factor| {
        let (low, high, status) = cpu.reg::<T>(RAX as u8).mul(factor);
        cpu.set_pair(high, low);
        cpu.set_status(status);
        Ok(())
    })
}

fn imul<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, _, factor| {
        let (low, high, status) = cpu.reg::<T>(RAX as u8).imul(factor);
        cpu.set_pair(high, low);
        cpu.set_status(status);
        Ok(())
    })
}

fn imul_reg_rm<T: Wide, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, factor| {
        let (product, status) = cpu.reg::<T>(op.reg).imul_low(factor);
        cpu.set_reg(op.reg, product);
        cpu.set_status(status);
        Ok(())
    })
}

fn imul_reg_rm_imm<T: Wide, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, factor| {
        let (product, status) = factor.imul_low(T::truncate(op.imm));
        cpu.set_reg(op.reg, product);
        cpu.set_status(status);
        Ok(())
    })
}

fn div<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, _, divisor| divide(cpu, divisor))
}

fn divide<T: Int>(cpu: &mut Cpu, divisor: T) -> Result<(), Stop> {
    let divisor = divisor.zero_extend();
    let (high, low) = cpu.pair::<T>();
    // Exactly when the quotient does not fit; it covers a zero divisor.
    if high >= divisor {
        return Err(cpu.divide_error());
    }
    let (quotient, remainder) = if T::BYTES < 8 {
        let dividend = high << T::BITS | low;
        (dividend / divisor, dividend % divisor)
    } else if high == 0 {
        (low / divisor, low % divisor)
    } else {
        divide_128(high, low, divisor)
    };
    cpu.set_pair(T::truncate(remainder), T::truncate(quotient));
    Ok(())
}

/// `high:low / divisor`, for `high < divisor`.
fn divide_128(high: u64, low: u64, divisor: u64) -> (u64, u64) {
    let (quotient, remainder);
    // SAFETY: register arithmetic; it cannot fault, since high < divisor.
    unsafe {
        core::arch::asm!(
            "div {divisor}", divisor = in(reg) divisor,
            inout("rax") low => quotient, inout("rdx") high => remainder, options(pure, nomem, nostack),
        );
    }
    (quotient, remainder)
}

fn idiv<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, _, divisor| divide_signed(cpu, divisor))
}

fn divide_signed<T: Int>(cpu: &mut Cpu, divisor: T) -> Result<(), Stop> {
    let divisor = divisor.sign_extend() as i64;
    let (high, low) = cpu.pair::<T>();
    let result = if T::BYTES < 8 {
        let unused = 64 - 2 * T::BITS;
        let dividend = ((high << T::BITS | low) << unused) as i64 >> unused;
        signed_64(dividend, divisor)
    } else if high == ((low as i64) >> 63) as u64 {
        signed_64(low as i64, divisor)
    } else {
        signed_128((i128::from(high as i64)) << 64 | i128::from(low), divisor)
    };
    let fits = |&(quotient, _): &(i64, i64)| T::truncate(quotient as u64).sign_extend() == quotient as u64;
    let Some((quotient, remainder)) = result.filter(fits) else { return Err(cpu.divide_error()) };
    cpu.set_pair(T::truncate(remainder as u64), T::truncate(quotient as u64));
    Ok(())
}

fn signed_64(dividend: i64, divisor: i64) -> Option<(i64, i64)> {
    Some((dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?))
}

fn signed_128(dividend: i128, divisor: i64) -> Option<(i64, i64)> {
    let divisor = i128::from(divisor);
    let quotient = i64::try_from(dividend.checked_div(divisor)?).ok()?;
    Some((quotient, dividend.checked_rem(divisor)? as i64))
}

fn select_imul(code: Code, memory: bool) -> Option<Handler> {
    use Operand::{Absent, Imm, Reg, Rm};
    Some(match operands(code) {
        [Rm(width), Absent, _] => by_form!(1, width, memory, imul),
        [Reg(width), Rm(_), Absent] => by_form!(2, width, memory, imul_reg_rm),
        [Reg(width), Rm(_), Imm] => by_form!(2, width, memory, imul_reg_rm_imm),
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    Some(match (code.mnemonic(), operands(code)) {
        (Mnemonic::Imul, _) => return select_imul(code, memory),
        (Mnemonic::Mul, [Operand::Rm(width), ..]) => by_form!(1, width, memory, mul),
        (Mnemonic::Div, [Operand::Rm(width), ..]) => by_form!(1, width, memory, div),
        (Mnemonic::Idiv, [Operand::Rm(width), ..]) => by_form!(1, width, memory, idiv),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, RCX, RDX};
    use crate::x86::fault::vector;
    use crate::x86::testing::{CODE, machine, run};

    /// The quotient and remainder, or `None` for #DE.
    fn divide(code: &[u8], high: u64, low: u64, divisor: u64) -> Option<(u64, u64)> {
        let mut cpu = machine(code);
        (cpu.regs[RDX], cpu.regs[RAX], cpu.regs[RCX]) = (high, low, divisor);
        match run(&mut cpu) {
            Ok(()) => Some((cpu.regs[RAX], cpu.regs[RDX])),
            Err(fault) => {
                assert_eq!((fault.vector, cpu.rip()), (vector::DE, CODE));
                assert_eq!((cpu.regs[RDX], cpu.regs[RAX]), (high, low));
                None
            }
        }
    }

    #[test]
    fn div_faults_exactly_when_the_quotient_does_not_fit() {
        let div = |high, low, divisor| divide(&[0x48, 0xF7, 0xF1], high, low, divisor); // div rcx
        assert_eq!(div(0, 5, 0), None);
        assert_eq!(div(7, 0, 7), None);
        assert_eq!(div(6, u64::MAX, 7), Some((u64::MAX, 6)));
        let byte = |ax, divisor| divide(&[0xF6, 0xF1], 0, ax, divisor); // div cl
        assert_eq!(byte(0x1FF, 1), None);
        assert_eq!(byte(0xFFFF_02FE, 3), Some((0xFFFF_01FF, 0)));
    }

    #[test]
    fn idiv_faults_exactly_when_the_quotient_does_not_fit() {
        let minimum = 1u64 << 63;
        let idiv = |high, low, divisor| divide(&[0x48, 0xF7, 0xF9], high, low, divisor); // idiv rcx
        assert_eq!(idiv(0, 1, 0), None);
        assert_eq!(idiv(u64::MAX, minimum, u64::MAX), None);
        assert_eq!(idiv(u64::MAX, minimum, 1), Some((minimum, 0)));
        assert_eq!(idiv(u64::MAX, -7i64 as u64, 2), Some((-3i64 as u64, -1i64 as u64)));
        // -2^127 / -1 and / -2^63: past 64 bits, and past i128 on the way.
        assert_eq!(idiv(minimum, 0, u64::MAX), None);
        assert_eq!(idiv(minimum, 0, minimum), None);
        assert_eq!(idiv(0x3FFF_FFFF_FFFF_FFFF, u64::MAX, minimum), Some((minimum + 1, i64::MAX as u64)));
        let double = |high, low, divisor| divide(&[0xF7, 0xF9], high, low, divisor); // idiv ecx
        assert_eq!(double(0xFFFF_FFFF, 0x8000_0000, 0xFFFF_FFFF), None);
        assert_eq!(double(0x8000_0000, 0, 0xFFFF_FFFF), None);
        assert_eq!(double(0xFFFF_FFFF, 0x8000_0000, 1), Some((0x8000_0000, 0)));
        let byte = |ax, divisor| divide(&[0xF6, 0xF9], 0, ax, divisor); // idiv cl
        assert_eq!(byte(0x8000, 0xFF), None);
        assert_eq!(byte(0xFF80, 1), Some((0x80, 0)));
    }
}
