//! Conversions between scalars and general registers, and to half precision in memory.
//!
//! Intel SDM vol. 2, under each mnemonic. Conversions within vector registers are in `float`.

use iced_x86::{Code, Mnemonic as M, OpCodeOperandKind as Kind};

use super::form::{Form, Operation, form};
use super::mxcsr::control;
use super::operand::X;
use super::unmasked::{Format, Kind as Computation, Sources};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    let form = form(code)?;
    let kinds = code.op_code().op_kinds();
    let wide = kinds.iter().any(|kind| matches!(kind, Kind::r64_reg | Kind::r64_or_mem));
    Some(match code.mnemonic() {
        M::Cvtss2si | M::Vcvtss2si => pick_to::<Cvtss2si>(form, wide),
        M::Cvttss2si | M::Vcvttss2si => pick_to::<Cvttss2si>(form, wide),
        M::Cvtsd2si | M::Vcvtsd2si => pick_to::<Cvtsd2si>(form, wide),
        M::Cvttsd2si | M::Vcvttsd2si => pick_to::<Cvttsd2si>(form, wide),
        M::Cvtsi2ss | M::Vcvtsi2ss => pick_from::<Cvtsi2ss>(form, wide),
        M::Cvtsi2sd | M::Vcvtsi2sd => pick_from::<Cvtsi2sd>(form, wide),
        M::Vcvtps2ph => match (form, memory) {
            (Form::Vex256, true) => halve_y_to_memory,
            (Form::Vex256, false) => halve_y,
            (_, true) => halve_x_to_memory,
            (_, false) => halve_x,
        },
        _ => return None,
    })
}

/// A scalar to an integer of 32 or 64 bits; with the exceptions raised.
trait ToInteger {
    const BYTES: usize;
    fn narrow(x: X, control: u32) -> (u64, u32);
    fn wide(x: X, control: u32) -> (u64, u32);
}

/// An integer of 32 or 64 bits to the lowest element of `x`; with the exceptions raised.
trait FromInteger {
    fn narrow(x: X, integer: u64, control: u32) -> (X, u32);
    fn wide(x: X, integer: u64, control: u32) -> (X, u32);
}

macro_rules! to_integer {
    ($($name:ident $bytes:literal),+) => {
        $(
            struct $name;
            impl ToInteger for $name {
                const BYTES: usize = $bytes;
                fn narrow(x: X, control: u32) -> (u64, u32) {
                    let integer: u64;
                    let (_, raised) = run_float_x!(
                        (control), x, x, [concat!(stringify!($name), " {n:e}, {b}")], n = out(reg) integer
                    );
                    (integer, raised)
                }
                fn wide(x: X, control: u32) -> (u64, u32) {
                    let integer: u64;
                    let (_, raised) = run_float_x!(
                        (control), x, x, [concat!(stringify!($name), " {n:r}, {b}")], n = out(reg) integer
                    );
                    (integer, raised)
                }
            }
        )+
    };
}

macro_rules! from_integer {
    ($($name:ident),+) => {
        $(
            struct $name;
            impl FromInteger for $name {
                fn narrow(x: X, integer: u64, control: u32) -> (X, u32) {
                    run_float_x!(
                        (control), x, x, [concat!(stringify!($name), " {a}, {n:e}")], n = in(reg) integer
                    )
                }
                fn wide(x: X, integer: u64, control: u32) -> (X, u32) {
                    run_float_x!(
                        (control), x, x, [concat!(stringify!($name), " {a}, {n:r}")], n = in(reg) integer
                    )
                }
            }
        )+
    };
}

to_integer!(Cvtss2si 4, Cvttss2si 4, Cvtsd2si 8, Cvttsd2si 8);
from_integer!(Cvtsi2ss, Cvtsi2sd);

fn pick_to<C: ToInteger>(form: Form, wide: bool) -> Handler {
    match (form == Form::Legacy, wide) {
        (true, false) => to_integer::<C, false, false>,
        (true, true) => to_integer::<C, false, true>,
        (false, false) => to_integer::<C, true, false>,
        (false, true) => to_integer::<C, true, true>,
    }
}

fn to_integer<C: ToInteger, const VEX: bool, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let x = match (op.memory, C::BYTES) {
        (false, _) => cpu.ymm(op.rm).low(),
        (true, 4) => cpu.load_x::<4>(op, false)?,
        (true, _) => cpu.load_x::<8>(op, false)?,
    };
    let mxcsr = control(cpu.mxcsr);
    let (integer, raised) = if WIDE { C::wide(x, mxcsr) } else { C::narrow(x, mxcsr) };
    cpu.settle(raised, Sources::plain)?;
    // A 32-bit result came zero-extended.
    cpu.set_reg::<u64>(op.reg, integer);
    Ok(())
}

fn pick_from<C: FromInteger>(form: Form, wide: bool) -> Handler {
    match (form == Form::Legacy, wide) {
        (true, false) => from_integer::<C, false, false>,
        (true, true) => from_integer::<C, false, true>,
        (false, false) => from_integer::<C, true, false>,
        (false, true) => from_integer::<C, true, true>,
    }
}

fn from_integer<C: FromInteger, const VEX: bool, const WIDE: bool>(
    cpu: &mut Cpu,
    op: &Op,
) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let integer = if WIDE { cpu.rm::<u64>(op)? } else { u64::from(cpu.rm::<u32>(op)?) };
    let x = cpu.ymm(if VEX { op.vvvv } else { op.reg }).low();
    let mxcsr = control(cpu.mxcsr);
    let (result, raised) = if WIDE { C::wide(x, integer, mxcsr) } else { C::narrow(x, integer, mxcsr) };
    cpu.settle(raised, Sources::plain)?;
    if VEX {
        *cpu.ymm_mut(op.reg) = Ymm::from_low(result);
    } else {
        cpu.ymm_mut(op.reg).set_low(result);
    }
    Ok(())
}

/// VCVTPS2PH, whose destination is the r/m operand.
struct ToHalf;

impl Operation for ToHalf {
    const BYTES: [usize; 2] = [16, 32];
    fn x(cpu: &mut Cpu, a: X, b: X, imm: u8) -> Result<X, Stop> {
        let mxcsr = control(cpu.mxcsr);
        let (result, raised) = run_immediate!(run_float_x(mxcsr), a, b, imm, 8, "vcvtps2ph {a}, {b}");
        cpu.settle(raised, || Self::sources(Ymm::from_low(b), 16, imm))?;
        Ok(result)
    }
    fn y(cpu: &mut Cpu, a: &Ymm, b: &Ymm, imm: u8) -> Result<Ymm, Stop> {
        let mxcsr = control(cpu.mxcsr);
        let (result, raised) = run_immediate!(run_float_y(mxcsr), a, b, imm, 8, "vcvtps2ph xmm0, ymm1");
        cpu.settle(raised, || Self::sources(*b, 32, imm))?;
        Ok(result)
    }
}

impl ToHalf {
    fn sources(b: Ymm, bytes: usize, imm: u8) -> Sources {
        Sources { kind: Computation::Narrow, format: Format::Single, bytes, imm, b, ..Sources::plain() }
    }
}

fn halve_x(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = cpu.ymm(op.reg).low();
    *cpu.ymm_mut(op.rm) = Ymm::from_low(ToHalf::x(cpu, source, source, op.imm as u8)?);
    Ok(())
}

fn halve_y(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = *cpu.ymm(op.reg);
    *cpu.ymm_mut(op.rm) = ToHalf::y(cpu, &source, &source, op.imm as u8)?;
    Ok(())
}

// The conversion comes first: its exception precedes a fault of the store, and its flags outlive one.

fn halve_x_to_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = cpu.ymm(op.reg).low();
    let half = Ymm::from_low(ToHalf::x(cpu, source, source, op.imm as u8)?);
    cpu.store_op(op, half.0[0])
}

fn halve_y_to_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = *cpu.ymm(op.reg);
    let half = ToHalf::y(cpu, &source, &source, op.imm as u8)?;
    cpu.store_op(op, half.low())
}
