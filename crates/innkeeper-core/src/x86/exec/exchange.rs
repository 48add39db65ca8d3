//! Exchanges: XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. Source: Intel SDM vol. 2, and vol. 3, 9.1.2
//! for when they are atomic.

use core::arch::asm;

use iced_x86::{Code, Mnemonic};

use super::flags::Alu;
use super::operand::{Operand, by_form, by_width, operands, update};
use crate::x86::cpu::{Cpu, RAX, RBX, RCX, RDX, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, LOCK, Op};
use crate::x86::paging::Access;
use crate::x86::word::Int;

/// With memory it is always atomic, LOCK or not.
fn xchg<T: Int, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let new = cpu.reg::<T>(op.reg);
    let old = if M {
        cpu.modify(op.segment, cpu.ea(op), true, |_| new)?
    } else {
        let old = cpu.reg(op.rm);
        cpu.set_reg(op.rm, new);
        old
    };
    cpu.set_reg(op.reg, old);
    Ok(())
}

/// The forms with the accumulator implied.
fn xchg_accumulator<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (a, b) = (cpu.reg::<T>(RAX as u8), cpu.reg::<T>(op.reg));
    cpu.set_reg(op.reg, a);
    cpu.set_reg(RAX as u8, b);
    Ok(())
}

fn xadd<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let addend = cpu.reg::<T>(op.reg);
    if M {
        let mut status = 0;
        let sum = |before: T| {
            let (sum, flags) = before.add(addend);
            status = flags;
            sum
        };
        let before = cpu.modify(op.segment, cpu.ea(op), op.prefixes & LOCK != 0, sum)?;
        cpu.set_reg(op.reg, before);
        cpu.set_status(status);
    } else {
        let before = cpu.reg::<T>(op.rm);
        let (sum, status) = before.add(addend);
        // In this order: with one register for both, the sum stays.
        cpu.set_reg(op.reg, before);
        cpu.set_reg(op.rm, sum);
        cpu.set_status(status);
    }
    Ok(())
}

/// Memory is written either way, so it must be writable; of registers only one changes, the
/// destination or the accumulator.
fn cmpxchg<T: Alu, const M: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (expected, new) = (cpu.reg::<T>(RAX as u8), cpu.reg::<T>(op.reg));
    let found = if M {
        let exchange = |found: T| if found == expected { new } else { found };
        cpu.modify(op.segment, cpu.ea(op), op.prefixes & LOCK != 0, exchange)?
    } else {
        let found = cpu.reg::<T>(op.rm);
        if found == expected {
            cpu.set_reg(op.rm, new);
        }
        found
    };
    if found != expected {
        cpu.set_reg(RAX as u8, found);
    }
    let (_, status) = expected.sub(found);
    cpu.set_status(status);
    Ok(())
}

fn cmpxchg8b(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let pair = |high: usize, low: usize| cpu.regs[high] << 32 | cpu.regs[low] & 0xFFFF_FFFF;
    let (expected, new) = (pair(RDX, RAX), pair(RCX, RBX));
    let exchange = |found: u64| (if found == expected { new } else { found }, found);
    let found = update::<u64, u64, true>(cpu, op, exchange)?;
    cpu.set_flag(flag::ZF, found == expected);
    if found != expected {
        cpu.regs[RAX] = found & 0xFFFF_FFFF;
        cpu.regs[RDX] = found >> 32;
    }
    Ok(())
}

fn cmpxchg16b_rm(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let address = cpu.ea(op);
    let linear = cpu.linear_checked(op.segment, address, 16, Access::Write)?;
    if linear & 15 != 0 {
        return Err(cpu.gp(0));
    }
    let pair = |high: usize, low: usize| u128::from(cpu.regs[high]) << 64 | u128::from(cpu.regs[low]);
    let (expected, new) = (pair(RDX, RAX), pair(RCX, RBX));
    let found = exchange_16(cpu, op, address, expected, new)?;
    cpu.set_flag(flag::ZF, found == expected);
    if found != expected {
        cpu.regs[RAX] = found as u64;
        cpu.regs[RDX] = (found >> 64) as u64;
    }
    Ok(())
}

/// Compare-and-swap of 16 aligned bytes; always atomic on plain RAM. Gives the value found.
fn exchange_16(cpu: &mut Cpu, op: &Op, address: u64, expected: u128, new: u128) -> Result<u128, Stop> {
    if let Some((pointer, 16)) = cpu.run_of_bytes(op.segment, address, 16, Access::Write)?
        && std::arch::is_x86_feature_detected!("cmpxchg16b")
    {
        // SAFETY: 16 writable bytes of one RAM page, aligned as the linear address is, which was checked.
        return Ok(unsafe { host_cmpxchg16b(pointer, expected, new) });
    }
    // A device, a code page or a watched page.
    let platform = std::sync::Arc::clone(&cpu.platform);
    let _split = platform.code_guard.split_lock();
    cpu.probe_write(op.segment, address, 16)?;
    let found = cpu.load::<u128>(op.segment, address)?;
    cpu.store(op.segment, address, if found == expected { new } else { found })?;
    Ok(found)
}

/// # Safety
/// `pointer` must be to 16 writable bytes and aligned to 16, and the host must have CMPXCHG16B.
unsafe fn host_cmpxchg16b(pointer: *mut u8, expected: u128, new: u128) -> u128 {
    let (low, high): (u64, u64);
    // SAFETY: the caller vouches for the pointer. RBX cannot be an operand, so it is exchanged.
    unsafe {
        asm!(
            "xchg rsi, rbx",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") pointer, inout("rsi") new as u64 => _, in("rcx") (new >> 64) as u64,
            inout("rax") expected as u64 => low, inout("rdx") (expected >> 64) as u64 => high,
            options(nostack),
        );
    }
    u128::from(high) << 64 | u128::from(low)
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    let operands = operands(code);
    Some(match (code.mnemonic(), operands) {
        (Mnemonic::Xchg, [Operand::Rm(width), Operand::Reg(_), _]) => by_form!(1, width, memory, xchg),
        (Mnemonic::Xchg, [Operand::Reg(width), Operand::Reg(_), _]) => by_width!(1, width, xchg_accumulator),
        (Mnemonic::Xadd, [Operand::Rm(width), ..]) => by_form!(1, width, memory, xadd),
        (Mnemonic::Cmpxchg, [Operand::Rm(width), ..]) => by_form!(1, width, memory, cmpxchg),
        _ => match code {
            Code::Cmpxchg8b_m64 => cmpxchg8b,
            Code::Cmpxchg16b_m128 => cmpxchg16b_rm,
            _ => return None,
        },
    })
}
