//! Decimal adjustment, not in 64-bit mode: AAA AAS AAM AAD DAA DAS. Source: Intel SDM vol. 2. Flags
//! that the manual leaves undefined keep their value.

use iced_x86::Code;

use super::flags::Alu;
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

/// Byte registers are numbered by offset.
const AL: u8 = 0;
const AH: u8 = 1;

/// Whether the low digit of AL is to be adjusted.
fn adjusts(cpu: &Cpu) -> bool {
    cpu.reg::<u8>(AL) & 0xF > 9 || cpu.has_flag(flag::AF)
}

fn aaa(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let adjust = adjusts(cpu);
    let ax = cpu.reg::<u16>(0);
    let adjusted = if adjust { ax.wrapping_add(0x106) } else { ax };
    cpu.set_reg(0, adjusted & 0xFF0F);
    cpu.set_flag(flag::AF | flag::CF, adjust);
    Ok(())
}

fn aas(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let adjust = adjusts(cpu);
    let ax = cpu.reg::<u16>(0);
    let adjusted = if adjust { ax.wrapping_sub(0x106) } else { ax };
    cpu.set_reg(0, adjusted & 0xFF0F);
    cpu.set_flag(flag::AF | flag::CF, adjust);
    Ok(())
}

/// Sets AL, and SF, ZF and PF by it.
fn set_al(cpu: &mut Cpu, al: u8) {
    cpu.set_reg(AL, al);
    let (_, status) = al.and(al);
    let by_result = flag::SF | flag::ZF | flag::PF;
    cpu.rflags = cpu.rflags & !by_result | status & by_result;
}

fn aam(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (al, base) = (cpu.reg::<u8>(AL), op.imm as u8);
    let Some(high) = al.checked_div(base) else { return Err(cpu.divide_error()) };
    cpu.set_reg(AH, high);
    set_al(cpu, al % base);
    Ok(())
}

fn aad(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let high = cpu.reg::<u8>(AH).wrapping_mul(op.imm as u8);
    let al = cpu.reg::<u8>(AL).wrapping_add(high);
    cpu.set_reg(AH, 0u8);
    set_al(cpu, al);
    Ok(())
}

fn daa(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let (old, low) = (cpu.reg::<u8>(AL), adjusts(cpu));
    let high = old > 0x99 || cpu.has_flag(flag::CF);
    let correction = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    set_al(cpu, old.wrapping_add(correction));
    cpu.set_flag(flag::AF, low);
    // A carry out of the low digit's correction implies AL > 99H.
    cpu.set_flag(flag::CF, high);
    Ok(())
}

fn das(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let (old, low) = (cpu.reg::<u8>(AL), adjusts(cpu));
    let high = old > 0x99 || cpu.has_flag(flag::CF);
    let correction = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    set_al(cpu, old.wrapping_sub(correction));
    cpu.set_flag(flag::AF, low);
    cpu.set_flag(flag::CF, high || (low && old < 6));
    Ok(())
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Aaa => aaa,
        Code::Aas => aas,
        Code::Aam_imm8 => aam,
        Code::Aad_imm8 => aad,
        Code::Daa => daa,
        Code::Das => das,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{machine_32, run};

    /// AX and CF, AF after one instruction.
    fn after(code: &[u8], ax: u64, flags: u64) -> (u64, u64) {
        let mut cpu = machine_32(code);
        (cpu.regs[RAX], cpu.rflags) = (ax, flag::FIXED | flags);
        run(&mut cpu).unwrap();
        (cpu.regs[RAX], cpu.rflags & (flag::CF | flag::AF))
    }

    #[test]
    fn additions_are_adjusted() {
        let both = flag::CF | flag::AF;
        assert_eq!(after(&[0x37], 0x000F, 0), (0x0105, both)); // aaa
        assert_eq!(after(&[0x37], 0x00FA, 0), (0x0200, both)); // the carry out of AL goes to AH too
        assert_eq!(after(&[0x37], 0x0535, both), (0x060B, both));
        assert_eq!(after(&[0x37], 0x0535, flag::CF), (0x0505, 0));
        assert_eq!(after(&[0x27], 0xAE, 0), (0x14, both)); // daa
        assert_eq!(after(&[0x27], 0x9A, 0), (0x00, both));
        assert_eq!(after(&[0x27], 0x15, flag::AF), (0x1B, flag::AF));
        assert_eq!(after(&[0x27], 0x15, flag::CF), (0x75, flag::CF));
    }

    #[test]
    fn subtractions_are_adjusted() {
        let both = flag::CF | flag::AF;
        assert_eq!(after(&[0x3F], 0x02FF, 0), (0x0109, both)); // aas
        assert_eq!(after(&[0x3F], 0x0204, 0), (0x0204, 0));
        assert_eq!(after(&[0x2F], 0x00, flag::AF), (0xFA, both)); // das borrows
        assert_eq!(after(&[0x2F], 0xEE, 0), (0x88, both));
        assert_eq!(after(&[0x2F], 0x2B, flag::AF), (0x25, flag::AF));
    }

    #[test]
    fn products_and_quotients_are_adjusted() {
        assert_eq!(after(&[0xD4, 0x0A], 0xFF47, 0).0, 0x0701); // aam
        assert_eq!(after(&[0xD5, 0x0A], 0x0207, 0).0, 0x001B); // aad
        assert_eq!(after(&[0xD5, 0x10], 0xFF12, 0).0, 0x0002);
        let mut cpu = machine_32(&[0xD4, 0x00]);
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::DE);
    }
}
