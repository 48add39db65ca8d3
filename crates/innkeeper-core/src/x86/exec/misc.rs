//! No-operations, hints, fences, cache-line instructions, BOUND, RDRAND and RDSEED. Source: Intel SDM
//! vol. 2. UD0, UD1 and UD2 have no handler, which makes them #UD.

use core::arch::asm;
use core::sync::atomic::{Ordering, compiler_fence, fence};

use iced_x86::{Code, Mnemonic};

use super::operand::{Operand, by_width, operands};
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op};
use crate::x86::paging::Access;
use crate::x86::word::Int;

fn nop(_cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    Ok(())
}

/// PAUSE instructions between two yields of the host's processor.
const PAUSES_PER_YIELD: u32 = 16;

/// A spinning vCPU lets its siblings have the host's core: it may wait for one that waits for that.
fn pause(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.pauses = cpu.pauses.wrapping_add(1);
    if cpu.pauses.is_multiple_of(PAUSES_PER_YIELD) && cpu.platform.fabric.vcpus() > 1 {
        std::thread::yield_now();
    }
    std::hint::spin_loop();
    Ok(())
}

fn mfence(_cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    fence(Ordering::SeqCst);
    Ok(())
}

/// LFENCE and SFENCE: the host keeps loads in order, and stores, as every x86 does.
fn order(_cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    compiler_fence(Ordering::SeqCst);
    Ok(())
}

/// CLFLUSH, CLFLUSHOPT, CLWB: checked like a load of a byte, but nothing is read (it may be a device).
fn flush_line(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.run_of_bytes(op.segment, cpu.ea(op), 1, Access::Read)?;
    Ok(())
}

/// BOUND: the index must lie in the pair of signed bounds, upper one included.
fn bound<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let address = cpu.ea(op);
    let next = address.wrapping_add(T::BYTES) & op.address_mask;
    let index = cpu.reg::<T>(op.reg).sign_extend() as i64;
    // The upper bound is read only for an index that the lower one lets pass.
    let inside = index >= cpu.load::<T>(op.segment, address)?.sign_extend() as i64
        && index <= cpu.load::<T>(op.segment, next)?.sign_extend() as i64;
    if inside { Ok(()) } else { Err(cpu.raise(vector::BR, 0)) }
}

/// Sets the destination and CF; without success the destination is 0.
fn set_random<T: Int>(cpu: &mut Cpu, number: u8, value: u64, good: u8) {
    cpu.set_reg(number, T::truncate(if good != 0 { value } else { 0 }));
    cpu.set_status(if good != 0 { flag::CF } else { 0 });
}

fn rdrand<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (value, good): (u64, u8);
    // SAFETY: no operands but registers; presented to a guest only where the host has it.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack)) };
    set_random::<T>(cpu, op.rm, value, good);
    Ok(())
}

fn rdseed<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let (value, good): (u64, u8);
    // SAFETY: no operands but registers; presented to a guest only where the host has it.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack)) };
    set_random::<T>(cpu, op.rm, value, good);
    Ok(())
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    use Mnemonic as M;
    let mnemonic = code.mnemonic();
    if let ([Operand::Rm(width) | Operand::Reg(width), ..], M::Rdrand | M::Rdseed) =
        (operands(code), mnemonic)
    {
        return Some(if mnemonic == M::Rdrand {
            by_width!(2, width, rdrand)
        } else {
            by_width!(2, width, rdseed)
        });
    }
    Some(match mnemonic {
        M::Nop | M::Reservednop | M::Cldemote => nop,
        // Without CET these lie in the reserved-NOP space, without MPX the BND ones do.
        M::Endbr32 | M::Endbr64 | M::Rdsspd | M::Rdsspq => nop,
        M::Bndcl | M::Bndcn | M::Bndcu | M::Bndldx | M::Bndmk | M::Bndmov | M::Bndstx => nop,
        M::Prefetch | M::Prefetchw | M::Prefetchwt1 | M::Prefetchnta => nop,
        M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchit0 | M::Prefetchit1 => nop,
        M::Pause => pause,
        M::Mfence | M::Serialize => mfence,
        M::Lfence | M::Sfence => order,
        M::Clflush | M::Clflushopt | M::Clwb => flush_line,
        _ => match code {
            Code::Prefetchreserved3_m8 | Code::Prefetchreserved4_m8 | Code::Prefetchreserved5_m8 => nop,
            Code::Prefetchreserved6_m8 | Code::Prefetchreserved7_m8 => nop,
            Code::Bound_r16_m1616 => bound::<u16>,
            Code::Bound_r32_m3232 => bound::<u32>,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::x86::cpu::{RAX, RSI, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{ABSENT, CODE, DATA, READ_ONLY, machine, machine_32, poke, run};

    #[test]
    fn the_reserved_space_does_nothing() {
        let hints: &[&[u8]] = &[
            &[0x90],
            &[0x66, 0x90],
            &[0xF3, 0x90],                                           // pause
            &[0x66, 0x2E, 0x0F, 0x1F, 0x84, 0x00, 0x00, 0x02, 0, 0], // nop [rax + rax + 200h]
            &[0xF3, 0x0F, 0x1E, 0xFA],                               // endbr64
            &[0xF3, 0x48, 0x0F, 0x1E, 0xC8],                         // rdsspq rax
            &[0x0F, 0x18, 0x0E],                                     // prefetcht0 [rsi]
            &[0x0F, 0x0D, 0x0E],                                     // prefetchw [rsi]
            &[0x0F, 0x1A, 0xC0],
            &[0x0F, 0x1C, 0x06], // cldemote [rsi]
            &[0x0F, 0xAE, 0xE8], // lfence
            &[0x0F, 0xAE, 0xF0], // mfence
            &[0x0F, 0xAE, 0xF8], // sfence
        ];
        let mut cpu = machine(&hints.concat());
        cpu.regs[RSI] = ABSENT;
        let mut expected = cpu.regs;
        expected[crate::x86::cpu::RIP] = CODE + hints.concat().len() as u64;
        run(&mut cpu).unwrap();
        assert_eq!(cpu.regs, expected);
    }

    #[test]
    fn ud_is_undefined() {
        for code in [&[0x0F, 0x0B][..], &[0x0F, 0xFF, 0xC0], &[0x0F, 0xB9, 0xC0]] {
            assert_eq!(run(&mut machine(code)).unwrap_err().vector, vector::UD);
        }
    }

    #[test]
    fn a_flush_is_checked_as_a_load() {
        let mut cpu = machine(&[0x0F, 0xAE, 0x3E]); // clflush [rsi]
        cpu.regs[RSI] = ABSENT + 5;
        let fault = run(&mut cpu).unwrap_err();
        assert_eq!((fault.vector, fault.error, fault.address), (vector::PF, 0, ABSENT + 5));
        cpu.regs[RSI] = READ_ONLY;
        run(&mut cpu).unwrap();
    }

    #[test]
    fn bound_includes_both_ends() {
        for (index, inside) in [(-3i32, true), (7, true), (-4, false), (8, false)] {
            let mut cpu = machine_32(&[0x62, 0x06]); // bound eax, [esi]
            poke(&cpu, DATA, &[-3i32, 7].map(i32::to_le_bytes).concat());
            (cpu.regs[RSI], cpu.regs[RAX]) = (DATA, u64::from(index as u32));
            assert_eq!(
                run(&mut cpu).map_err(|fault| fault.vector),
                if inside { Ok(()) } else { Err(vector::BR) }
            );
        }
    }

    #[test]
    fn rdrand_differs_from_call_to_call() {
        if !std::arch::is_x86_feature_detected!("rdrand") {
            return; // then it is not presented
        }
        let mut cpu = machine(&[0x48, 0x0F, 0xC7, 0xF0]); // rdrand rax
        cpu.rflags |= flag::STATUS;
        run(&mut cpu).unwrap();
        let first = (cpu.regs[RAX], cpu.rflags & flag::STATUS);
        cpu.regs[crate::x86::cpu::RIP] = CODE;
        run(&mut cpu).unwrap();
        assert_ne!(first, (cpu.regs[RAX], cpu.rflags & flag::STATUS));
        assert!(first.1 & !flag::CF == 0);
    }
}
