//! Single elements and sign masks: PINSRx, PEXTRx, EXTRACTPS, MOVMSKx, PMOVMSKB, VEXTRACTx128; and
//! VZEROUPPER and VZEROALL.
//!
//! Intel SDM vol. 2, under each mnemonic.

use std::arch::x86_64::{_mm_castsi128_pd, _mm_castsi128_ps};
use std::arch::x86_64::{_mm_movemask_epi8, _mm_movemask_pd, _mm_movemask_ps};

use iced_x86::{Code, Mnemonic as M};

use super::form::{Form, form};
use super::operand::X;
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};
use crate::x86::word::Int;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    match code {
        Code::VEX_Vzeroupper => return Some(vzeroupper),
        Code::VEX_Vzeroall => return Some(vzeroall),
        // The one extraction whose destination is ModRM.reg.
        Code::Pextrw_r32_xmm_imm8 | Code::Pextrw_r64_xmm_imm8 => return Some(pextrw_register::<false>),
        Code::VEX_Vpextrw_r32_xmm_imm8 | Code::VEX_Vpextrw_r64_xmm_imm8 => {
            return Some(pextrw_register::<true>);
        }
        _ => {}
    }
    let form = form(code)?;
    Some(match code.mnemonic() {
        M::Pinsrb => insert::<u8, false>,
        M::Pinsrw => insert::<u16, false>,
        M::Pinsrd => insert::<u32, false>,
        M::Pinsrq => insert::<u64, false>,
        M::Vpinsrb => insert::<u8, true>,
        M::Vpinsrw => insert::<u16, true>,
        M::Vpinsrd => insert::<u32, true>,
        M::Vpinsrq => insert::<u64, true>,
        M::Pextrb => extract::<u8, false>,
        M::Pextrw => extract::<u16, false>,
        M::Pextrd | M::Extractps => extract::<u32, false>,
        M::Pextrq => extract::<u64, false>,
        M::Vpextrb => extract::<u8, true>,
        M::Vpextrw => extract::<u16, true>,
        M::Vpextrd | M::Vextractps => extract::<u32, true>,
        M::Vpextrq => extract::<u64, true>,
        M::Pmovmskb | M::Vpmovmskb => pick_mask::<Bytes>(form),
        M::Movmskps | M::Vmovmskps => pick_mask::<Singles>(form),
        M::Movmskpd | M::Vmovmskpd => pick_mask::<Doubles>(form),
        M::Vextractf128 | M::Vextracti128 => extract_half,
        _ => return None,
    })
}

#[inline(always)]
fn need<const VEX: bool>(cpu: &mut Cpu) -> Result<(), Stop> {
    if VEX { cpu.need_avx() } else { cpu.need_sse() }
}

/// The element that an immediate chooses in an XMM register.
fn chosen<T: Int>(op: &Op) -> u64 {
    op.imm & (16 / T::BYTES - 1)
}

fn insert<T: Int, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    // Narrow sources in registers are the low part of a wider one.
    let value = if op.memory { cpu.load_op::<T>(op)? } else { T::truncate(cpu.reg::<u64>(op.rm)) };
    let mut result = if VEX { Ymm::from_low(cpu.ymm(op.vvvv).low()) } else { *cpu.ymm(op.reg) };
    result.set_element(chosen::<T>(op), value);
    *cpu.ymm_mut(op.reg) = result;
    Ok(())
}

fn extract<T: Int, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    let value = cpu.ymm(op.reg).element::<T>(chosen::<T>(op));
    if op.memory {
        return cpu.store_op(op, value);
    }
    cpu.set_reg::<u64>(op.rm, value.zero_extend());
    Ok(())
}

fn pextrw_register<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    let value = cpu.ymm(op.rm).element::<u16>(chosen::<u16>(op));
    cpu.set_reg::<u64>(op.reg, value.into());
    Ok(())
}

/// The sign bits of one XMM register's elements, and how many there are.
trait Signs {
    const COUNT: u32;
    fn signs(x: X) -> i32;
}

struct Bytes;
struct Singles;
struct Doubles;

impl Signs for Bytes {
    const COUNT: u32 = 16;
    #[inline(always)]
    fn signs(x: X) -> i32 {
        // SAFETY: SSE2, which every host has.
        unsafe { _mm_movemask_epi8(x) }
    }
}

impl Signs for Singles {
    const COUNT: u32 = 4;
    fn signs(x: X) -> i32 {
        // SAFETY: SSE2, which every host has.
        unsafe { _mm_movemask_ps(_mm_castsi128_ps(x)) }
    }
}

impl Signs for Doubles {
    const COUNT: u32 = 2;
    fn signs(x: X) -> i32 {
        // SAFETY: SSE2, which every host has.
        unsafe { _mm_movemask_pd(_mm_castsi128_pd(x)) }
    }
}

fn pick_mask<S: Signs>(form: Form) -> Handler {
    match form {
        Form::Legacy => sign_mask::<S, false>,
        Form::Vex128 => sign_mask::<S, true>,
        Form::Vex256 => |cpu, op| {
            cpu.need_avx()?;
            let (low, high) = (S::signs(cpu.ymm(op.rm).low()), S::signs(cpu.ymm(op.rm).high()));
            cpu.set_reg::<u32>(op.reg, (low | high << S::COUNT) as u32);
            Ok(())
        },
    }
}

fn sign_mask<S: Signs, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    need::<VEX>(cpu)?;
    cpu.set_reg::<u32>(op.reg, S::signs(cpu.ymm(op.rm).low()) as u32);
    Ok(())
}

/// VEXTRACTF128 and VEXTRACTI128.
fn extract_half(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = cpu.ymm(op.reg);
    let half = if op.imm & 1 == 0 { source.low() } else { source.high() };
    if op.memory {
        return cpu.store_op(op, half);
    }
    *cpu.ymm_mut(op.rm) = Ymm::from_low(half);
    Ok(())
}

/// Outside 64-bit mode only the registers that exist there are cleared.
fn registers(cpu: &Cpu) -> usize {
    if cpu.long { 16 } else { 8 }
}

fn vzeroupper(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let count = registers(cpu);
    for register in &mut cpu.ymm[..count] {
        register.0[2..].fill(0);
    }
    Ok(())
}

fn vzeroall(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let count = registers(cpu);
    cpu.ymm[..count].fill(Ymm::default());
    Ok(())
}
