//! MMX: the instructions on MM registers, which are the low 64 bits of the x87 registers.
//!
//! Source: Intel SDM vol. 1, 9.5 and 9.6; vol. 3, chapter 12. Every one of them but EMMS sets TOP to 0
//! and all tags to valid, and a written register's upper 16 bits to ones. The packed operations
//! themselves are in [`super::vector::mmx`]; here is what surrounds them, the moves, and the conversions to
//! and from XMM registers.

use core::arch::asm;

use iced_x86::Code;

use super::vector::mxcsr::{self, HOST_MXCSR};
use super::vector::unmasked::Sources;
use super::x87::settle_pending;
use crate::x86::cpu::{Cpu, RDI, cr};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::{Int, Word};

/// A packed operation: destination, source, immediate.
pub trait Lane {
    fn run(a: u64, b: u64, imm: u8) -> u64;
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    Some(match code {
        Code::Emms => emms,
        Code::Movd_mm_rm32 => movd_load::<u32>,
        Code::Movq_mm_rm64 => movd_load::<u64>,
        Code::Movd_rm32_mm => movd_store::<u32>,
        Code::Movq_rm64_mm => movd_store::<u64>,
        Code::Movq_mm_mmm64 => movq_load,
        Code::Movq_mmm64_mm | Code::Movntq_m64_mm => movq_store,
        Code::Maskmovq_rDI_mm_mm => maskmovq,
        Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8 => pinsrw,
        Code::Pextrw_r32_mm_imm8 | Code::Pextrw_r64_mm_imm8 => pextrw,
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => pmovmskb,
        Code::Psrlw_mm_imm8
        | Code::Psraw_mm_imm8
        | Code::Psllw_mm_imm8
        | Code::Psrld_mm_imm8
        | Code::Psrad_mm_imm8
        | Code::Pslld_mm_imm8
        | Code::Psrlq_mm_imm8
        | Code::Psllq_mm_imm8 => {
            return super::vector::mmx::shift_by_immediate(code.mnemonic());
        }
        Code::Movq2dq_xmm_mm => movq2dq,
        Code::Movdq2q_mm_xmm => movdq2q,
        Code::Cvtpi2ps_xmm_mmm64 => cvtpi2ps,
        Code::Cvtpi2pd_xmm_mmm64 => cvtpi2pd,
        Code::Cvtps2pi_mm_xmmm64 => to_integers::<Cvtps2pi, u64>,
        Code::Cvttps2pi_mm_xmmm64 => to_integers::<Cvttps2pi, u64>,
        Code::Cvtpd2pi_mm_xmmm128 => to_integers::<Cvtpd2pi, u128>,
        Code::Cvttpd2pi_mm_xmmm128 => to_integers::<Cvttpd2pi, u128>,
        _ => return super::vector::mmx::select(code, memory),
    })
}

// ---- what every MMX instruction does ----------------------------------------------------------------

/// The gate: emulation, task switch, a pending x87 exception.
#[inline(always)]
fn enter(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.cr0 & cr::CR0_EM != 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr::CR0_TS != 0 {
        return Err(cpu.nm());
    }
    settle_pending(cpu)
}

/// The gate of instructions that also use XMM registers.
fn enter_with_xmm(cpu: &mut Cpu) -> Result<(), Stop> {
    cpu.need_sse()?;
    settle_pending(cpu)
}

/// The x87 registers become MMX registers. Conversions do this before #XM (so do processors).
#[inline(always)]
fn transition(cpu: &mut Cpu) {
    cpu.x87.top = 0;
    cpu.x87.valid = 0xFF;
}

#[inline(always)]
fn mm(cpu: &Cpu, number: u8) -> u64 {
    cpu.x87.regs[usize::from(number & 7)] as u64
}

#[inline(always)]
fn set_mm(cpu: &mut Cpu, number: u8, value: u64) {
    transition(cpu);
    cpu.x87.regs[usize::from(number & 7)] = u128::from(value) | 0xFFFF << 64;
}

#[inline(always)]
fn mm_or_memory(cpu: &mut Cpu, op: &Op) -> Result<u64, Stop> {
    if op.memory { cpu.load_op(op) } else { Ok(mm(cpu, op.rm)) }
}

fn emms(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    cpu.x87.top = 0;
    cpu.x87.valid = 0;
    Ok(())
}

// ---- packed operations ------------------------------------------------------------------------------

/// `mm = lane(mm, mm/m64)`.
pub fn packed<L: Lane>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let source = mm_or_memory(cpu, op)?;
    let value = L::run(mm(cpu, op.reg), source, op.imm as u8);
    set_mm(cpu, op.reg, value);
    Ok(())
}

/// `mm = lane(mm, m32)`: the interleaving of low halves.
pub fn packed_m32<L: Lane>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let source = cpu.load_op::<u32>(op)?;
    let value = L::run(mm(cpu, op.reg), source.into(), 0);
    set_mm(cpu, op.reg, value);
    Ok(())
}

/// `mm = lane(mm, imm8)`: shifts, whose count is an operand of 64 bits.
pub fn packed_by_immediate<L: Lane>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = L::run(mm(cpu, op.rm), op.imm & 0xFF, 0);
    set_mm(cpu, op.rm, value);
    Ok(())
}

// ---- moves ------------------------------------------------------------------------------------------

fn movd_load<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value: T = cpu.rm(op)?;
    set_mm(cpu, op.reg, value.zero_extend());
    Ok(())
}

fn movd_store<T: Int>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = T::truncate(mm(cpu, op.reg));
    cpu.set_rm(op, value)?;
    transition(cpu);
    Ok(())
}

fn movq_load(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = mm_or_memory(cpu, op)?;
    set_mm(cpu, op.reg, value);
    Ok(())
}

fn movq_store(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = mm(cpu, op.reg);
    if op.memory {
        cpu.store_op(op, value)?;
        transition(cpu);
    } else {
        set_mm(cpu, op.rm, value);
    }
    Ok(())
}

/// Stores the bytes whose mask byte has its sign bit set, at DS:RDI; no other byte is touched, but
/// all eight must be writable, whatever the mask.
fn maskmovq(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let (data, mask) = (mm(cpu, op.reg), mm(cpu, op.rm));
    let start = cpu.regs[RDI] & op.address_mask;
    let selected = |at: &u64| mask >> (8 * at + 7) & 1 != 0;
    cpu.probe_write(op.segment, start, 8)?;
    for at in (0..8).filter(selected) {
        cpu.store(op.segment, start.wrapping_add(at) & op.address_mask, (data >> (8 * at)) as u8)?;
    }
    transition(cpu);
    Ok(())
}

fn pinsrw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let word: u16 = if op.memory { cpu.load_op(op)? } else { cpu.reg(op.rm) };
    let shift = 16 * (op.imm & 3);
    let value = mm(cpu, op.reg) & !(0xFFFF << shift) | u64::from(word) << shift;
    set_mm(cpu, op.reg, value);
    Ok(())
}

fn pextrw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let word = mm(cpu, op.rm) >> (16 * (op.imm & 3)) & 0xFFFF;
    transition(cpu);
    cpu.set_reg::<u64>(op.reg, word);
    Ok(())
}

fn pmovmskb(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = mm(cpu, op.rm);
    let mask = (0..8).fold(0, |mask, at| mask | (value >> (8 * at + 7) & 1) << at);
    transition(cpu);
    cpu.set_reg::<u64>(op.reg, mask);
    Ok(())
}

fn movq2dq(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter_with_xmm(cpu)?;
    let value = mm(cpu, op.rm);
    transition(cpu);
    set_xmm(cpu, op.reg, [value, 0]);
    Ok(())
}

fn movdq2q(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter_with_xmm(cpu)?;
    let value = xmm(cpu, op.rm)[0];
    set_mm(cpu, op.reg, value);
    Ok(())
}

// ---- conversions ------------------------------------------------------------------------------------

fn xmm(cpu: &Cpu, number: u8) -> [u64; 2] {
    let [low, high, ..] = cpu.ymm[usize::from(number & 15)].0;
    [low, high]
}

/// Writes the XMM register; the YMM register's upper half stays, as in all legacy SSE.
fn set_xmm(cpu: &mut Cpu, number: u8, value: [u64; 2]) {
    cpu.ymm[usize::from(number & 15)].0[..2].copy_from_slice(&value);
}

/// Runs `$instruction` on `xmm0` (in and out) with the guest's MXCSR, all exceptions masked, and gives
/// the result and the exceptions it raised.
macro_rules! with_mxcsr {
    ($cpu:expr, $value:expr, [$($instruction:literal),+], $integers:expr) => {{
        let mut control = mxcsr::control($cpu.mxcsr);
        let mut value: [u64; 2] = $value;
        let mut integers: u64 = $integers;
        // SAFETY: reads and writes its own operands; MXCSR is put back, and the x87 stack is empty.
        unsafe {
            asm!(
                "ldmxcsr [{control}]", "movdqu xmm0, [{value}]", "movq mm0, [{integers}]",
                $($instruction,)+
                "movdqu [{value}], xmm0", "movq [{integers}], mm0", "emms",
                "stmxcsr [{control}]", "ldmxcsr [{host}]",
                control = in(reg) &raw mut control, host = in(reg) &raw const HOST_MXCSR,
                value = in(reg) &raw mut value, integers = in(reg) &raw mut integers,
                out("xmm0") _,
                out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
                out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nostack),
            );
        }
        (value, integers, control & mxcsr::FLAGS)
    }};
}

/// The integers that CVTPI2PS and CVTPI2PD convert. Those from memory do not touch the x87 state, and so
/// do not wait for its exceptions either.
fn integers(cpu: &mut Cpu, op: &Op) -> Result<u64, Stop> {
    if op.memory {
        cpu.need_sse()?;
        return cpu.load_op(op);
    }
    enter_with_xmm(cpu)?;
    transition(cpu);
    Ok(mm(cpu, op.rm))
}

fn cvtpi2ps(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let integers = integers(cpu, op)?;
    let (value, _, raised) = with_mxcsr!(cpu, xmm(cpu, op.reg), ["cvtpi2ps xmm0, mm0"], integers);
    cpu.settle(raised, Sources::plain)?;
    set_xmm(cpu, op.reg, value);
    Ok(())
}

/// Exact, so without exceptions.
fn cvtpi2pd(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let integers = integers(cpu, op)?;
    let (value, ..) = with_mxcsr!(cpu, xmm(cpu, op.reg), ["cvtpi2pd xmm0, mm0"], integers);
    set_xmm(cpu, op.reg, value);
    Ok(())
}

/// Two reals in an XMM register to two integers, and the exceptions that raised.
trait ToIntegers {
    fn run(cpu: &Cpu, value: [u64; 2]) -> (u64, u32);
}

macro_rules! to_integers {
    ($($name:ident $text:literal;)+) => {$(
        struct $name;
        impl ToIntegers for $name {
            fn run(cpu: &Cpu, value: [u64; 2]) -> (u64, u32) {
                let (_, integers, raised) = with_mxcsr!(cpu, value, [$text], 0);
                (integers, raised)
            }
        }
    )+};
}

to_integers! {
    Cvtps2pi "cvtps2pi mm0, xmm0";
    Cvttps2pi "cvttps2pi mm0, xmm0";
    Cvtpd2pi "cvtpd2pi mm0, xmm0";
    Cvttpd2pi "cvttpd2pi mm0, xmm0";
}

/// `T` is the memory operand: 64 bits, or 128 that must be aligned.
fn to_integers<C: ToIntegers, T: Word + Into<u128>>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter_with_xmm(cpu)?;
    let value = match op.memory {
        false => xmm(cpu, op.rm),
        true => {
            if T::BYTES == 16 {
                cpu.need_alignment(op, 16)?;
            }
            let bits: u128 = cpu.load_op::<T>(op)?.into();
            [bits as u64, (bits >> 64) as u64]
        }
    };
    let (integers, raised) = C::run(cpu, value);
    transition(cpu);
    cpu.settle(raised, Sources::plain)?;
    set_mm(cpu, op.reg, integers);
    Ok(())
}
