//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the FS and GS base instructions, as AMD processors
//! have them: SYSCALL works in every protected mode, SYSENTER only outside IA-32e mode, and SYSRET
//! does not check RCX (the fetch behind it does). Source: AMD APM vol. 2, 6.1, and vol. 3.
//! Unlike there, SYSRET loads SS flat: what it leaves unchanged on AMD no system relies on.

use iced_x86::Code;

use crate::state::SegmentState;
use crate::x86::attention::LOCAL;
use crate::x86::cpu::{Cpu, RCX, RDX, RIP, RSP, cr, flag};
use crate::x86::fault::Stop;
use crate::x86::mmu::canonical;
use crate::x86::op::{Handler, Op, seg};
use crate::x86::segment::{self as attr};

const R11: usize = 11;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Syscall => syscall,
        Code::Sysretd => sysret::<false>,
        Code::Sysretq => sysret::<true>,
        Code::Sysenter => sysenter,
        Code::Sysexitd | Code::Sysexitq => sysexit,
        Code::Swapgs => swapgs,
        Code::Rdfsbase_r32 => read_base::<{ seg::FS }, false>,
        Code::Rdfsbase_r64 => read_base::<{ seg::FS }, true>,
        Code::Rdgsbase_r32 => read_base::<{ seg::GS }, false>,
        Code::Rdgsbase_r64 => read_base::<{ seg::GS }, true>,
        Code::Wrfsbase_r32 => write_base::<{ seg::FS }, false>,
        Code::Wrfsbase_r64 => write_base::<{ seg::FS }, true>,
        Code::Wrgsbase_r32 => write_base::<{ seg::GS }, false>,
        Code::Wrgsbase_r64 => write_base::<{ seg::GS }, true>,
        _ => return None,
    })
}

/// The size of the code that a fast system call enters.
enum Kind {
    /// 32-bit.
    Legacy,
    /// 64-bit.
    Long,
}

const FLAT: u32 = attr::PRESENT | attr::NOT_SYSTEM | attr::GRANULAR | attr::ACCESSED | attr::WRITABLE;

impl Cpu {
    /// Loads CS and SS flat at a privilege level, with the selectors that an MSR gave.
    fn flat_segments(&mut self, code: u16, stack: u16, cpl: u8, kind: &Kind) {
        let level = u32::from(cpl) << attr::DPL_SHIFT;
        let size = match kind {
            Kind::Legacy => attr::BIG,
            Kind::Long => attr::LONG,
        };
        let attributes = FLAT | attr::CODE | level | size;
        self.segments[seg::CS as usize] =
            SegmentState { selector: code, attributes, limit: u32::MAX, base: 0 };
        let attributes = FLAT | attr::BIG | level;
        self.segments[seg::SS as usize] =
            SegmentState { selector: stack, attributes, limit: u32::MAX, base: 0 };
    }
}

fn syscall(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.efer & cr::EFER_SCE == 0 || cpu.real() {
        return Err(cpu.ud());
    }
    let code = (cpu.msrs.star >> 32) as u16 & !3;
    let stack = code.wrapping_add(8);
    if cpu.lma() {
        cpu.regs[RCX] = cpu.regs[RIP];
        cpu.regs[R11] = cpu.rflags & !flag::RF;
        cpu.regs[RIP] = if cpu.long { cpu.msrs.lstar } else { cpu.msrs.cstar };
        cpu.rflags &= !(cpu.msrs.sfmask | flag::RF);
        cpu.rflags |= flag::FIXED;
        cpu.flat_segments(code, stack, 0, &Kind::Long);
    } else {
        cpu.regs[RCX] = cpu.regs[RIP];
        cpu.regs[RIP] = cpu.msrs.star & 0xFFFF_FFFF;
        cpu.rflags &= !(flag::VM | flag::IF | flag::RF);
        cpu.flat_segments(code, stack, 0, &Kind::Legacy);
    }
    cpu.refresh_mode();
    Ok(())
}

fn sysret<const LONG: bool>(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.efer & cr::EFER_SCE == 0 {
        return Err(cpu.ud());
    }
    if !cpu.protected || cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let base = (cpu.msrs.star >> 48) as u16;
    let stack = base.wrapping_add(8) | 3;
    if LONG {
        cpu.regs[RIP] = cpu.regs[RCX];
        cpu.flat_segments(base.wrapping_add(16) | 3, stack, 3, &Kind::Long);
    } else {
        cpu.regs[RIP] = cpu.regs[RCX] & 0xFFFF_FFFF;
        cpu.flat_segments(base | 3, stack, 3, &Kind::Legacy);
    }
    let before = cpu.rflags;
    cpu.rflags = if cpu.lma() {
        cpu.regs[R11] & 0x3F_7FD5 & !(flag::RF | flag::VM) | flag::FIXED
    } else {
        before | flag::IF
    };
    cpu.refresh_mode();
    if cpu.rflags & !before & flag::IF != 0 {
        cpu.attention.raise(LOCAL);
    }
    if cpu.has_flag(flag::TF) {
        cpu.debug_hits |= super::DR6_BS; // the trap comes behind SYSRET itself
    }
    Ok(())
}

fn sysenter(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.lma() {
        return Err(cpu.ud());
    }
    let code = cpu.msrs.sysenter_cs as u16 & !3;
    if cpu.real() || code == 0 {
        return Err(cpu.gp(0));
    }
    cpu.rflags &= !(flag::VM | flag::IF | flag::RF);
    cpu.flat_segments(code, code.wrapping_add(8), 0, &Kind::Legacy);
    cpu.regs[RIP] = cpu.msrs.sysenter_eip & 0xFFFF_FFFF;
    cpu.regs[RSP] = cpu.msrs.sysenter_esp & 0xFFFF_FFFF;
    cpu.refresh_mode();
    Ok(())
}

fn sysexit(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.lma() {
        return Err(cpu.ud());
    }
    let code = cpu.msrs.sysenter_cs as u16 & !3;
    if !cpu.protected || cpu.cpl != 0 || code == 0 {
        return Err(cpu.gp(0));
    }
    let (code, stack) = (code.wrapping_add(16) | 3, code.wrapping_add(24) | 3);
    cpu.flat_segments(code, stack, 3, &Kind::Legacy);
    cpu.regs[RIP] = cpu.regs[RDX] & 0xFFFF_FFFF;
    cpu.regs[RSP] = cpu.regs[RCX] & 0xFFFF_FFFF;
    cpu.refresh_mode();
    Ok(())
}

fn swapgs(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let base = &mut cpu.segments[seg::GS as usize].base;
    std::mem::swap(base, &mut cpu.msrs.kernel_gs_base);
    cpu.bases[seg::GS as usize] = *base;
    Ok(())
}

fn read_base<const SEGMENT: u8, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.cr4 & cr::CR4_FSGSBASE == 0 {
        return Err(cpu.ud());
    }
    let base = cpu.segments[SEGMENT as usize].base;
    if WIDE {
        cpu.set_reg(op.rm, base)
    } else {
        cpu.set_reg(op.rm, base as u32)
    }
    Ok(())
}

fn write_base<const SEGMENT: u8, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.cr4 & cr::CR4_FSGSBASE == 0 {
        return Err(cpu.ud());
    }
    let base = if WIDE { cpu.reg::<u64>(op.rm) } else { u64::from(cpu.reg::<u32>(op.rm)) };
    if !canonical(base) {
        return Err(cpu.gp(0));
    }
    cpu.set_segment_base(SEGMENT, base);
    Ok(())
}

impl Cpu {
    /// Sets the base of FS or GS, as their MSRs do.
    pub(super) fn set_segment_base(&mut self, segment: u8, base: u64) {
        self.segments[segment as usize].base = base;
        self.bases[segment as usize] = base;
    }
}
