//! Exchanges: XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. Source: Intel SDM vol. 2, and vol. 3, 9.1.2
//! for when they are atomic.

use core::arch::asm;

use iced_x86::{Code, Mnemonic};

use super::flags::Alu;
use super::operand::{Operand, by_form, by_width, operands};
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
    let exchange = |found: u64| if found == expected { new } else { found };
    let found = cpu.modify(op.segment, cpu.ea(op), op.prefixes & LOCK != 0, exchange)?;
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

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{Cpu, RAX, RBX, RCX, RDX, RSI, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{DATA, READ_ONLY, machine, peek, poke, run};

    const CMPXCHG16B: [u8; 5] = [0xF0, 0x48, 0x0F, 0xC7, 0x0E]; // lock cmpxchg16b [rsi]

    fn sixteen(address: u64, code: &[u8]) -> Box<Cpu> {
        let mut cpu = machine(code);
        poke(&cpu, address, &(5u128 << 64 | 4).to_le_bytes());
        cpu.regs[RSI] = address;
        (cpu.regs[RDX], cpu.regs[RAX], cpu.regs[RCX], cpu.regs[RBX]) = (5, 4, 9, 8);
        cpu
    }

    #[test]
    fn cmpxchg16b_exchanges_or_loads() {
        for code_page in [false, true] {
            let address = DATA;
            let mut cpu = sixteen(address, &CMPXCHG16B);
            if code_page {
                cpu.guard_code((address >> 12) as u32, 0, 1); // stores take the slow path
            }
            run(&mut cpu).unwrap();
            assert!(cpu.has_flag(flag::ZF));
            assert_eq!(peek(&cpu, address), (9u128 << 64 | 8).to_le_bytes());
            cpu.rflags |= flag::CF;
            cpu.regs[crate::x86::cpu::RIP] = crate::x86::testing::CODE;
            run(&mut cpu).unwrap();
            assert!(!cpu.has_flag(flag::ZF) && cpu.has_flag(flag::CF));
            assert_eq!((cpu.regs[RDX], cpu.regs[RAX]), (9, 8));
        }
    }

    #[test]
    fn cmpxchg16b_demands_alignment() {
        let mut cpu = sixteen(DATA + 8, &CMPXCHG16B);
        assert_eq!(run(&mut cpu).unwrap_err().vector, vector::GP);
        assert_eq!(peek(&cpu, DATA + 8), (5u128 << 64 | 4).to_le_bytes());
    }

    #[test]
    fn cmpxchg8b_clears_upper_halves_only_when_it_loads() {
        let mut cpu = machine(&[0x0F, 0xC7, 0x0E]); // cmpxchg8b [rsi]
        poke(&cpu, DATA, &(5u64 << 32 | 4).to_le_bytes());
        cpu.regs[RSI] = DATA;
        (cpu.regs[RDX], cpu.regs[RAX]) = (1 << 32 | 5, 1 << 32 | 4);
        (cpu.regs[RCX], cpu.regs[RBX]) = (9, 8);
        run(&mut cpu).unwrap();
        assert_eq!((cpu.regs[RDX], cpu.regs[RAX]), (1 << 32 | 5, 1 << 32 | 4));
        assert_eq!(peek(&cpu, DATA), (9u64 << 32 | 8).to_le_bytes());
        cpu.regs[crate::x86::cpu::RIP] = crate::x86::testing::CODE;
        run(&mut cpu).unwrap();
        assert!(!cpu.has_flag(flag::ZF));
        assert_eq!((cpu.regs[RDX], cpu.regs[RAX]), (9, 8));
    }

    #[test]
    fn a_cmpxchg_that_fails_still_needs_write_access() {
        let mut cpu = machine(&[0x48, 0x0F, 0xB1, 0x0E]); // cmpxchg [rsi], rcx
        (cpu.regs[RSI], cpu.regs[RAX]) = (READ_ONLY, 1);
        let fault = run(&mut cpu).unwrap_err();
        assert_eq!((fault.vector, fault.error & 3, cpu.regs[RAX]), (vector::PF, 3, 1));
    }

    #[test]
    fn xchg_and_xadd_swap_through_memory() {
        // xchg [rsi], rax; lock xadd [rsi], rax
        let mut cpu = machine(&[0x48, 0x87, 0x06, 0xF0, 0x48, 0x0F, 0xC1, 0x06]);
        poke(&cpu, DATA + 0xFFC, &7u64.to_le_bytes()); // across a page
        (cpu.regs[RSI], cpu.regs[RAX]) = (DATA + 0xFFC, 30);
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs[RAX], 30);
        assert_eq!(peek(&cpu, DATA + 0xFFC), 37u64.to_le_bytes());
    }
}
