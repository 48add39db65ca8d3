//! Square root, remainders, scaling, rounding; trigonometry and logarithms.

use iced_x86::Code;

use super::host::{
    ArcTan, Cos, Extract, Outcome, Pair, Remainder, RemainderNearest, RoundToInteger, Scale, Sin, SinCos,
    Sqrt, Tan, TwoToMinusOne, Unary, YTimesLog, YTimesLogPlusOne,
};
use super::{BEFORE, C0, C1, C2, C3, IE, INDEFINITE, SF, enter, finish, stack_fault};
use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fsqrt => unary::<Sqrt, C1>,
        Code::Frndint => unary::<RoundToInteger, C1>,
        Code::F2xm1 => unary::<TwoToMinusOne, C1>,
        Code::Fsin => unary::<Sin, { C1 | C2 }>,
        Code::Fcos => unary::<Cos, { C1 | C2 }>,
        Code::Fsincos => pushing::<SinCos, { C1 | C2 }>,
        Code::Fptan => pushing::<Tan, { C1 | C2 }>,
        Code::Fxtract => pushing::<Extract, C1>,
        Code::Fscale => scale,
        Code::Fprem => remainder::<Remainder>,
        Code::Fprem1 => remainder::<RemainderNearest>,
        Code::Fpatan => popping::<ArcTan>,
        Code::Fyl2x => popping::<YTimesLog>,
        Code::Fyl2xp1 => popping::<YTimesLogPlusOne>,
        _ => return None,
    })
}

/// ST(0) becomes a function of itself.
fn unary<U: Unary, const CONDITIONS: u16>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = cpu.x87.full(0).map(|st0| U::run(cpu.x87.control, st0));
    replace(cpu, op, outcome, CONDITIONS);
    Ok(())
}

fn scale(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = on_pair::<Scale>(cpu);
    replace(cpu, op, outcome, C1);
    Ok(())
}

/// C0, C3 and C1 take the quotient's low bits and C2 says whether the reduction is partial; without a
/// quotient C0 and C3 stay as they were.
fn remainder<P: Pair>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = on_pair::<P>(cpu);
    let done =
        |outcome: Outcome| outcome.status & (IE | BEFORE & !cpu.x87.control) == 0 && !is_nan(outcome.st0);
    let quotient = outcome.is_some_and(done);
    replace(cpu, op, outcome, if quotient { C0 | C1 | C2 | C3 } else { C1 | C2 });
    Ok(())
}

fn is_nan(value: u128) -> bool {
    value >> 64 & 0x7FFF == 0x7FFF && value as u64 != 1 << 63
}

fn on_pair<P: Pair>(cpu: &Cpu) -> Option<Outcome> {
    let operands = cpu.x87.full(0).zip(cpu.x87.full(1));
    operands.map(|(st0, st1)| P::run(cpu.x87.control, st0, st1))
}

fn replace(cpu: &mut Cpu, op: &Op, outcome: Option<Outcome>, conditions: u16) {
    let (completed, value) = match outcome {
        Some(outcome) => (finish(cpu, op, outcome.status, conditions), outcome.st0),
        None => (finish(cpu, op, IE | SF, conditions), INDEFINITE),
    };
    if completed {
        cpu.x87.set_st(0, value);
    }
}

/// ST(1) becomes a function of itself and ST(0), which is popped.
fn popping<P: Pair>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let (completed, value) = match on_pair::<P>(cpu) {
        Some(outcome) => (finish(cpu, op, outcome.status, C1), outcome.st0),
        None => (stack_fault(cpu, op, 0), INDEFINITE),
    };
    if completed {
        cpu.x87.set_st(1, value);
        cpu.x87.pop();
    }
    Ok(())
}

/// ST(0) becomes one result and a second is pushed, unless the operand was out of range.
fn pushing<U: Unary, const CONDITIONS: u16>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let operand = cpu.x87.full(0);
    let direction = if operand.is_some() { C1 } else { 0 };
    match operand.filter(|_| cpu.x87.full(7).is_none()) {
        Some(st0) => {
            let outcome = U::run(cpu.x87.control, st0);
            if !finish(cpu, op, outcome.status, CONDITIONS) {
            } else if outcome.top() == 6 {
                cpu.x87.set_st(0, outcome.st1);
                cpu.x87.push(outcome.st0);
            } else {
                cpu.x87.set_st(0, outcome.st0);
            }
        }
        None => {
            if finish(cpu, op, IE | SF | direction, CONDITIONS) {
                cpu.x87.set_st(0, INDEFINITE);
                cpu.x87.push(INDEFINITE);
            }
        }
    }
    Ok(())
}
