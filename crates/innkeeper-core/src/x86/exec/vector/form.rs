//! The shapes that vector instructions come in, and one handler per shape.
//!
//! An [`Operation`] says what becomes of two sources; the same one serves the legacy encoding
//! (`op dst, src`, upper half of the YMM register kept), VEX.128 (`op dst, a, b`, upper half cleared)
//! and VEX.256. See Intel SDM vol. 2, 2.3.10 for the rule about upper halves.

use iced_x86::{Code, EncodingKind, OpCodeOperandKind as Kind};

use super::operand::{Align, X, x_from};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

/// A result made from a first source (the destination, for legacy encodings; VEX.vvvv otherwise, or
/// something to be ignored), the r/m operand and an immediate.
pub trait Operation {
    /// Bytes of the r/m operand in memory, for 128-bit and for 256-bit forms.
    const BYTES: [usize; 2];
    const ALIGN: Align = Align::Legacy;
    /// Worth an inlined memory access.
    const HOT: bool = false;

    // #UD is for forms that do not exist; the decoder knows none of them.

    fn x(cpu: &mut Cpu, _a: X, _b: X, _imm: u8) -> Result<X, Stop> {
        Err(cpu.ud())
    }
    fn y(cpu: &mut Cpu, _a: &Ymm, _b: &Ymm, _imm: u8) -> Result<Ymm, Stop> {
        Err(cpu.ud())
    }
}

/// A result made from three sources.
pub trait Operation3 {
    const BYTES: [usize; 2];
    fn x(cpu: &mut Cpu, a: X, b: X, c: X) -> Result<X, Stop>;
    fn y(cpu: &mut Cpu, _a: &Ymm, _b: &Ymm, _c: &Ymm) -> Result<Ymm, Stop> {
        Err(cpu.ud())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Legacy,
    Vex128,
    Vex256,
}

/// The form of an encoding with XMM or YMM operands; `None` for all others (general registers only,
/// MMX, EVEX).
pub fn form(code: Code) -> Option<Form> {
    let info = code.op_code();
    let kinds = info.op_kinds();
    if kinds.iter().any(|&kind| is_mmx(kind)) || !kinds.iter().any(|&kind| is_vector(kind)) {
        return None;
    }
    match info.encoding() {
        EncodingKind::Legacy => Some(Form::Legacy),
        EncodingKind::VEX if info.l() == 0 => Some(Form::Vex128),
        EncodingKind::VEX => Some(Form::Vex256),
        _ => None,
    }
}

fn is_mmx(kind: Kind) -> bool {
    matches!(kind, Kind::mm_reg | Kind::mm_rm | Kind::mm_or_mem)
}

fn is_vector(kind: Kind) -> bool {
    matches!(kind, Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_or_mem)
        || matches!(kind, Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_or_mem)
}

/// The handler of an [`Operation`].
pub fn pick<L: Operation>(code: Code) -> Option<Handler> {
    Some(match form(code)? {
        Form::Legacy => legacy::<L>,
        Form::Vex128 => vex128::<L>,
        Form::Vex256 => vex256::<L>,
    })
}

// Hot operations look for their memory operand the quick way first. The general way is a function of
// its own, so that the common path needs no stack frame.

fn legacy<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_sse()?;
    match quick_x::<L>(cpu, op, L::ALIGN != Align::Never) {
        Some(b) => finish_legacy::<L>(cpu, op, b),
        None => legacy_general::<L>(cpu, op),
    }
}

#[inline(never)]
fn legacy_general<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let b = load_x::<L>(cpu, op, L::ALIGN != Align::Never)?;
    finish_legacy::<L>(cpu, op, b)
}

#[inline(always)]
fn finish_legacy<L: Operation>(cpu: &mut Cpu, op: &Op, b: X) -> Result<(), Stop> {
    let result = L::x(cpu, cpu.ymm(op.reg).low(), b, op.imm as u8)?;
    cpu.ymm_mut(op.reg).set_low(result);
    Ok(())
}

fn vex128<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    match quick_x::<L>(cpu, op, L::ALIGN == Align::Always) {
        Some(b) => finish_vex128::<L>(cpu, op, b),
        None => vex128_general::<L>(cpu, op),
    }
}

#[inline(never)]
fn vex128_general<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let b = load_x::<L>(cpu, op, L::ALIGN == Align::Always)?;
    finish_vex128::<L>(cpu, op, b)
}

#[inline(always)]
fn finish_vex128<L: Operation>(cpu: &mut Cpu, op: &Op, b: X) -> Result<(), Stop> {
    let result = L::x(cpu, cpu.ymm(op.vvvv).low(), b, op.imm as u8)?;
    *cpu.ymm_mut(op.reg) = Ymm::from_low(result);
    Ok(())
}

fn vex256<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let aligned = L::ALIGN == Align::Always;
    let b = match op.memory {
        false => *cpu.ymm(op.rm),
        true if L::HOT && L::BYTES[1] == 32 => cpu.load_y_hot(op, aligned)?,
        true => load_y::<L>(cpu, op, aligned)?,
    };
    let a = *cpu.ymm(op.vvvv);
    *cpu.ymm_mut(op.reg) = L::y(cpu, &a, &b, op.imm as u8)?;
    Ok(())
}

/// The r/m operand, if that is a register or, for hot operations, if it can be had quickly.
#[inline(always)]
fn quick_x<L: Operation>(cpu: &Cpu, op: &Op, aligned: bool) -> Option<X> {
    if !op.memory {
        return Some(cpu.ymm(op.rm).low());
    }
    match L::BYTES[0] {
        _ if !L::HOT => None,
        4 => cpu.quick_load_op::<u32>(op).map(|low| x_from([low.into(), 0])),
        8 => cpu.quick_load_op::<u64>(op).map(|low| x_from([low, 0])),
        16 if !aligned || cpu.is_aligned(op, 16) => cpu.quick_load_op::<X>(op),
        _ => None,
    }
}

#[inline(always)]
fn load_x<L: Operation>(cpu: &mut Cpu, op: &Op, aligned: bool) -> Result<X, Stop> {
    match L::BYTES[0] {
        1 => cpu.load_x::<1>(op, aligned),
        2 => cpu.load_x::<2>(op, aligned),
        4 => cpu.load_x::<4>(op, aligned),
        8 => cpu.load_x::<8>(op, aligned),
        _ => cpu.load_x::<16>(op, aligned),
    }
}

#[inline(always)]
fn load_y<L: Operation>(cpu: &mut Cpu, op: &Op, aligned: bool) -> Result<Ymm, Stop> {
    match L::BYTES[1] {
        1 => cpu.load_y::<1>(op, aligned),
        2 => cpu.load_y::<2>(op, aligned),
        4 => cpu.load_y::<4>(op, aligned),
        8 => cpu.load_y::<8>(op, aligned),
        16 => cpu.load_y::<16>(op, aligned),
        _ => cpu.load_y::<32>(op, aligned),
    }
}

/// The handler of an [`Operation3`] whose third source is XMM0 or the register in an immediate
/// (variable blends).
pub fn pick_blend<L: Operation3>(code: Code) -> Option<Handler> {
    Some(match form(code)? {
        Form::Legacy => |cpu, op| {
            cpu.need_sse()?;
            let b = source3_x::<L>(cpu, op, true)?;
            let result = L::x(cpu, cpu.ymm(op.reg).low(), b, cpu.ymm(0).low())?;
            cpu.ymm_mut(op.reg).set_low(result);
            Ok(())
        },
        Form::Vex128 => |cpu, op| three_x::<L>(cpu, op, op.vvvv, op.is4),
        Form::Vex256 => |cpu, op| three_y::<L>(cpu, op, op.vvvv, op.is4),
    })
}

/// The handler of an [`Operation3`] whose sources are destination, VEX.vvvv and r/m (fused multiply-add):
/// they are `c`, `a` and `b`.
pub fn pick_fused<L: Operation3>(code: Code) -> Option<Handler> {
    Some(match form(code)? {
        Form::Legacy => return None,
        Form::Vex128 => |cpu, op| three_x::<L>(cpu, op, op.vvvv, op.reg),
        Form::Vex256 => |cpu, op| three_y::<L>(cpu, op, op.vvvv, op.reg),
    })
}

#[inline(always)]
fn three_x<L: Operation3>(cpu: &mut Cpu, op: &Op, a: u8, c: u8) -> Result<(), Stop> {
    cpu.need_avx()?;
    let b = source3_x::<L>(cpu, op, false)?;
    let result = L::x(cpu, cpu.ymm(a).low(), b, cpu.ymm(c).low())?;
    *cpu.ymm_mut(op.reg) = Ymm::from_low(result);
    Ok(())
}

#[inline(always)]
fn three_y<L: Operation3>(cpu: &mut Cpu, op: &Op, a: u8, c: u8) -> Result<(), Stop> {
    cpu.need_avx()?;
    let b = if op.memory { cpu.load_y::<32>(op, false)? } else { *cpu.ymm(op.rm) };
    let (a, c) = (*cpu.ymm(a), *cpu.ymm(c));
    *cpu.ymm_mut(op.reg) = L::y(cpu, &a, &b, &c)?;
    Ok(())
}

#[inline(always)]
fn source3_x<L: Operation3>(cpu: &mut Cpu, op: &Op, aligned: bool) -> Result<X, Stop> {
    match (op.memory, L::BYTES[0]) {
        (false, _) => Ok(cpu.ymm(op.rm).low()),
        (true, 4) => cpu.load_x::<4>(op, aligned),
        (true, 8) => cpu.load_x::<8>(op, aligned),
        (true, _) => cpu.load_x::<16>(op, aligned),
    }
}
