//! Loads onto the register stack: FLD, FILD, FBLD, the constants; and moves within it: FXCH, FCMOVcc,
//! FCHS, FABS.

use iced_x86::Code;

use super::host::{
    Decimal, Integer16, Integer32, Integer64, LnTwo, Load, Log2E, Log2Ten, Log10Two, One, Pi, Real32, Real64,
    Zero,
};
use super::{C1, INDEFINITE, enter, finish, stack_fault};
use crate::x86::cpu::{Cpu, flag};
use crate::x86::exec::xsave::load_bytes;
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

const SIGN: u128 = 1 << 79;

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fld_m32fp => fld::<Real32, 4>,
        Code::Fld_m64fp => fld::<Real64, 8>,
        Code::Fild_m16int => fld::<Integer16, 2>,
        Code::Fild_m32int => fld::<Integer32, 4>,
        Code::Fild_m64int => fld::<Integer64, 8>,
        Code::Fbld_m80bcd => fld::<Decimal, 10>,
        Code::Fld1 => fld::<One, 0>,
        Code::Fldl2t => fld::<Log2Ten, 0>,
        Code::Fldl2e => fld::<Log2E, 0>,
        Code::Fldpi => fld::<Pi, 0>,
        Code::Fldlg2 => fld::<Log10Two, 0>,
        Code::Fldln2 => fld::<LnTwo, 0>,
        Code::Fldz => fld::<Zero, 0>,
        Code::Fld_m80fp => fld_m80,
        Code::Fld_sti => fld_sti,
        Code::Fxch_st0_sti | Code::Fxch_st0_sti_DDC8 | Code::Fxch_st0_sti_DFC8 => fxch,
        Code::Fchs => |cpu, op| sign(cpu, op, |value| value ^ SIGN),
        Code::Fabs => |cpu, op| sign(cpu, op, |value| value & !SIGN),
        Code::Fcmovb_st0_sti => fcmov::<{ flag::CF }, true>,
        Code::Fcmove_st0_sti => fcmov::<{ flag::ZF }, true>,
        Code::Fcmovbe_st0_sti => fcmov::<{ flag::CF | flag::ZF }, true>,
        Code::Fcmovu_st0_sti => fcmov::<{ flag::PF }, true>,
        Code::Fcmovnb_st0_sti => fcmov::<{ flag::CF }, false>,
        Code::Fcmovne_st0_sti => fcmov::<{ flag::ZF }, false>,
        Code::Fcmovnbe_st0_sti => fcmov::<{ flag::CF | flag::ZF }, false>,
        Code::Fcmovnu_st0_sti => fcmov::<{ flag::PF }, false>,
        _ => return None,
    })
}

/// Pushes a register as it is, or faults where the stack is full.
fn push(cpu: &mut Cpu, op: &Op, value: u128) {
    if !overflows(cpu, op) {
        finish(cpu, op, 0, C1);
        cpu.x87.push(value);
    }
}

/// Whether the stack is full; if so, the fault is dealt with.
fn overflows(cpu: &mut Cpu, op: &Op) -> bool {
    let full = cpu.x87.full(7).is_some();
    if full && stack_fault(cpu, op, C1) {
        cpu.x87.push(INDEFINITE);
    }
    full
}

fn fld<L: Load, const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    const { assert!(L::BYTES == N) };
    enter(cpu)?;
    let operand = operand::<N>(cpu, op)?;
    let outcome = L::run(cpu.x87.control, operand);
    if !overflows(cpu, op) {
        finish(cpu, op, outcome.status, C1);
        // An unmasked denormal is loaded all the same; only an unmasked invalid operand is not.
        if outcome.top() == 7 {
            cpu.x87.push(outcome.st0);
        }
    }
    Ok(())
}

fn fld_m80(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = operand::<10>(cpu, op)?;
    push(cpu, op, value);
    Ok(())
}

/// The memory operand in the low bytes.
fn operand<const N: usize>(cpu: &mut Cpu, op: &Op) -> Result<u128, Stop> {
    let mut bytes = [0; 16];
    bytes[..N].copy_from_slice(&load_bytes::<N>(cpu, op)?);
    Ok(u128::from_le_bytes(bytes))
}

fn fld_sti(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    match cpu.x87.full(op.rm) {
        Some(value) => push(cpu, op, value),
        None => {
            if stack_fault(cpu, op, 0) {
                cpu.x87.push(INDEFINITE);
            }
        }
    }
    Ok(())
}

fn fxch(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let pair = (cpu.x87.full(0), cpu.x87.full(op.rm));
    let completed = match pair {
        (Some(_), Some(_)) => finish(cpu, op, 0, C1),
        _ => stack_fault(cpu, op, 0),
    };
    if completed {
        cpu.x87.set_st(op.rm, pair.0.unwrap_or(INDEFINITE));
        cpu.x87.set_st(0, pair.1.unwrap_or(INDEFINITE));
    }
    Ok(())
}

/// FCHS and FABS change the sign bit of anything, NaNs included.
fn sign(cpu: &mut Cpu, op: &Op, change: fn(u128) -> u128) -> Result<(), Stop> {
    enter(cpu)?;
    let value = cpu.x87.full(0);
    let completed = match value {
        Some(_) => finish(cpu, op, 0, C1),
        None => stack_fault(cpu, op, 0),
    };
    if completed {
        cpu.x87.set_st(0, value.map_or(INDEFINITE, change));
    }
    Ok(())
}

fn fcmov<const MASK: u64, const SET: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = match (cpu.x87.full(0), cpu.x87.full(op.rm)) {
        (Some(_), Some(value)) => value,
        _ => {
            if stack_fault(cpu, op, 0) {
                cpu.x87.set_st(0, INDEFINITE);
            }
            return Ok(());
        }
    };
    finish(cpu, op, 0, 0);
    if cpu.has_flag(MASK) == SET {
        cpu.x87.set_st(0, value);
    }
    Ok(())
}
