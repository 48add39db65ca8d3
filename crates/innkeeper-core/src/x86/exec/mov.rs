//! Moves and conversions: MOV, MOVZX, MOVSX, MOVSXD, LEA, BSWAP, MOVBE, MOVNTI, XLAT and the
//! sign extensions of the accumulator. Source: Intel SDM vol. 2.
//! MOV to and from segment, control and debug registers are system instructions.

use iced_x86::{Code, Mnemonic};

use super::flags::Alu;
use super::operand::{Operand, by_form, by_width, operands, with, write};
use crate::x86::cpu::{Cpu, RAX, RDX};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

fn rm_reg<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    write::<T, M>(cpu, op, |cpu, op| cpu.reg(op.reg))
}

fn reg_rm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<T, M>(cpu, op, |cpu, op, value| {
        cpu.set_reg(op.reg, value);
        Ok(())
    })
}

fn rm_imm<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    write::<T, M>(cpu, op, |_, op| T::truncate(op.imm))
}

fn reg_imm<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.set_reg(op.reg, T::truncate(op.imm));
    Ok(())
}

/// MOVZX: source `S` to destination `T`.
fn zero_extend<T: Int, const M: bool, S: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<S, M>(cpu, op, |cpu, op, value| {
        cpu.set_reg(op.reg, T::truncate(value.zero_extend()));
        Ok(())
    })
}

/// MOVSX and MOVSXD.
fn sign_extend<T: Int, const M: bool, S: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    with::<S, M>(cpu, op, |cpu, op, value| {
        cpu.set_reg(op.reg, T::truncate(value.sign_extend()));
        Ok(())
    })
}

fn lea<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.set_reg(op.reg, T::truncate(cpu.ea(op)));
    Ok(())
}

/// BSWAP of 16 bits is undefined; processors give 0.
fn bswap<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.reg::<T>(op.reg);
    let swapped = if T::BYTES == 2 { T::truncate(0) } else { value.swap_bytes() };
    cpu.set_reg(op.reg, swapped);
    Ok(())
}

fn movbe_load<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.load_op::<T>(op)?;
    cpu.set_reg(op.reg, value.swap_bytes());
    Ok(())
}

fn movbe_store<T: Alu>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let value = cpu.reg::<T>(op.reg);
    cpu.store_op(op, value.swap_bytes())
}

/// CBW, CWDE, CDQE: `H`, the lower half, into `T`.
fn extend_accumulator<T: Int, H: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let half = cpu.reg::<H>(0);
    cpu.set_reg(RAX as u8, T::truncate(half.sign_extend()));
    Ok(())
}

/// CWD, CDQ, CQO: the sign of the accumulator into DX, EDX, RDX.
fn spread_sign<T: Int>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let sign = (cpu.reg::<T>(RAX as u8).sign_extend() as i64) >> 63;
    cpu.set_reg(RDX as u8, T::truncate(sign as u64));
    Ok(())
}

/// XLAT: the index is AL, unsigned, whatever the address size.
fn xlat(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let index = cpu.regs[RAX] & 0xFF;
    let address = cpu.ea(op).wrapping_add(index) & op.address_mask;
    let value = cpu.load::<u8>(op.segment, address)?;
    cpu.set_reg(RAX as u8, value);
    Ok(())
}

fn select_mov(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Rm(width), Operand::Reg(_), _] => by_form!(1, width, memory, rm_reg),
        [Operand::Reg(width), Operand::Rm(_), _] => by_form!(1, width, memory, reg_rm),
        [Operand::Rm(width), Operand::Imm, _] => by_form!(1, width, memory, rm_imm),
        [Operand::Reg(width), Operand::Imm, _] => by_width!(1, width, reg_imm),
        [Operand::Reg(width), Operand::Offset, _] => by_form!(1, width, true, reg_rm),
        [Operand::Offset, Operand::Reg(width), _] => by_form!(1, width, true, rm_reg),
        _ => return None,
    })
}

fn select_zero_extend(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Reg(width), Operand::Rm(1), _] => by_form!(1, width, memory, zero_extend, u8),
        [Operand::Reg(width), Operand::Rm(2), _] => by_form!(1, width, memory, zero_extend, u16),
        _ => return None,
    })
}

fn select_sign_extend(code: Code, memory: bool) -> Option<Handler> {
    Some(match operands(code) {
        [Operand::Reg(width), Operand::Rm(1), _] => by_form!(1, width, memory, sign_extend, u8),
        [Operand::Reg(width), Operand::Rm(2), _] => by_form!(1, width, memory, sign_extend, u16),
        [Operand::Reg(width), Operand::Rm(4), _] => by_form!(1, width, memory, sign_extend, u32),
        _ => return None,
    })
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    match code.mnemonic() {
        Mnemonic::Mov => return select_mov(code, memory),
        Mnemonic::Movzx => return select_zero_extend(code, memory),
        Mnemonic::Movsx | Mnemonic::Movsxd => return select_sign_extend(code, memory),
        _ => {}
    }
    Some(match code {
        Code::Lea_r16_m => lea::<u16>,
        Code::Lea_r32_m => lea::<u32>,
        Code::Lea_r64_m => lea::<u64>,
        Code::Bswap_r16 => bswap::<u16>,
        Code::Bswap_r32 => bswap::<u32>,
        Code::Bswap_r64 => bswap::<u64>,
        Code::Movbe_r16_m16 => movbe_load::<u16>,
        Code::Movbe_r32_m32 => movbe_load::<u32>,
        Code::Movbe_r64_m64 => movbe_load::<u64>,
        Code::Movbe_m16_r16 => movbe_store::<u16>,
        Code::Movbe_m32_r32 => movbe_store::<u32>,
        Code::Movbe_m64_r64 => movbe_store::<u64>,
        // Weak ordering is a permission, not a duty.
        Code::Movnti_m32_r32 => rm_reg::<u32, true>,
        Code::Movnti_m64_r64 => rm_reg::<u64, true>,
        Code::Cbw => extend_accumulator::<u16, u8>,
        Code::Cwde => extend_accumulator::<u32, u16>,
        Code::Cdqe => extend_accumulator::<u64, u32>,
        Code::Cwd => spread_sign::<u16>,
        Code::Cdq => spread_sign::<u32>,
        Code::Cqo => spread_sign::<u64>,
        Code::Xlat_m8 => xlat,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, RBX, RCX, RSI};
    use crate::x86::testing::{DATA, machine, machine_16, peek, poke, run};

    #[test]
    fn an_absolute_address_has_64_bits() {
        let mut cpu =
            machine(&[0xA2, 0x05, 0x00, 0x02, 0, 0, 0, 0, 0, 0x66, 0xA1, 0x04, 0x00, 0x02, 0, 0, 0, 0, 0]);
        cpu.regs[RAX] = 0x77; // mov [20005h], al; mov ax, [20004h]
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 0x7700);
    }

    #[test]
    fn an_address_is_cut_to_its_size() {
        let mut cpu = machine(&[0x67, 0x8B, 0x46, 0xFF]); // mov eax, [esi - 1]
        poke(&cpu, DATA, &[1, 2, 3, 4]);
        cpu.regs[RSI] = 0xFFFF_FFFF_0000_0000 | (DATA + 1);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 0x0403_0201);
        let mut cpu = machine_16(&[0x8B, 0x40, 0x02]); // mov ax, [bx + si + 2]
        let base = cpu.segments[3].base;
        poke(&cpu, base + 0x101, &[0x34, 0x12]);
        (cpu.regs[RBX], cpu.regs[RSI]) = (0xFF00, 0x1FF);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 0x1234);
    }

    #[test]
    fn fs_and_gs_have_bases() {
        let mut cpu = machine(&[0x64, 0x8B, 0x44, 0x8E, 0x08]); // mov eax, fs:[rsi + rcx * 4 + 8]
        cpu.segments[4].base = DATA;
        cpu.refresh_mode();
        poke(&cpu, DATA + 0x18, &[9]);
        (cpu.regs[RSI], cpu.regs[RCX]) = (4, 3);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 9);
    }

    #[test]
    fn lea_computes() {
        let mut cpu = machine(&[0x8D, 0x44, 0xCE, 0xFC]); // lea eax, [rsi + rcx * 8 - 4]
        (cpu.regs[RAX], cpu.regs[RSI], cpu.regs[RCX]) = (u64::MAX, 0xFFFF_FFFF, 1);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 3);
    }

    #[test]
    fn xlat_indexes_with_al() {
        let mut cpu = machine(&[0xD7]);
        poke(&cpu, DATA + 0xF0, &[0x5A]);
        (cpu.regs[RAX], cpu.regs[RBX]) = (0x12F0, DATA);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 0x125A);
    }

    #[test]
    fn high_bytes_are_bytes_one() {
        let mut cpu = machine(&[0xB4, 0x12, 0x88, 0xE3, 0x88, 0x26]); // mov ah, 12h; mov bl, ah; mov [rsi], ah
        cpu.regs[RSI] = DATA;
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RAX], cpu.regs[RBX]), (0x1200, 0x12));
        assert_eq!(peek(&cpu, DATA), [0x12]);
    }
}
