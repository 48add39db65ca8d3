//! FADD, FSUB, FMUL, FDIV and their reversed, integer and popping forms.

use iced_x86::Code;

use super::host::{Add, Binary, Div, DivReversed, Mul, Outcome, Sub, SubReversed};
use super::{C1, INDEFINITE, enter, finish, stack_fault};
use crate::x86::cpu::Cpu;
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

/// The forms that are spelled alike for each operation. In the forms with ST(i) as the destination
/// the reversed operations have swapped opcodes, but mean the same: destination first, or last.
macro_rules! forms {
    ($code:expr; $($op:ident: $m32:ident $m64:ident $i16:ident $i32:ident $to_st0:ident $to_sti:ident $pop:ident;)+) => {
        match $code {
            $(
                Code::$m32 => Some(real32::<$op>),
                Code::$m64 => Some(real64::<$op>),
                Code::$i16 => Some(integer16::<$op>),
                Code::$i32 => Some(integer32::<$op>),
                Code::$to_st0 => Some(to_st0::<$op>),
                Code::$to_sti => Some(to_sti::<$op, false>),
                Code::$pop => Some(to_sti::<$op, true>),
            )+
            _ => None,
        }
    };
}

#[rustfmt::skip]
pub fn select(code: Code) -> Option<Handler> {
    forms! { code;
        Add: Fadd_m32fp Fadd_m64fp Fiadd_m16int Fiadd_m32int Fadd_st0_sti Fadd_sti_st0 Faddp_sti_st0;
        Mul: Fmul_m32fp Fmul_m64fp Fimul_m16int Fimul_m32int Fmul_st0_sti Fmul_sti_st0 Fmulp_sti_st0;
        Sub: Fsub_m32fp Fsub_m64fp Fisub_m16int Fisub_m32int Fsub_st0_sti Fsub_sti_st0 Fsubp_sti_st0;
        SubReversed: Fsubr_m32fp Fsubr_m64fp Fisubr_m16int Fisubr_m32int Fsubr_st0_sti Fsubr_sti_st0 Fsubrp_sti_st0;
        Div: Fdiv_m32fp Fdiv_m64fp Fidiv_m16int Fidiv_m32int Fdiv_st0_sti Fdiv_sti_st0 Fdivp_sti_st0;
        DivReversed: Fdivr_m32fp Fdivr_m64fp Fidivr_m16int Fidivr_m32int Fdivr_st0_sti Fdivr_sti_st0 Fdivrp_sti_st0;
    }
}

macro_rules! memory_form {
    ($($name:ident: $type:ty;)+) => {$(
        fn $name<B: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
            enter(cpu)?;
            let operand: $type = cpu.load_op(op)?;
            let outcome = cpu.x87.full(0).map(|st0| B::$name(cpu.x87.control, st0, operand));
            settle(cpu, op, 0, outcome);
            Ok(())
        }
    )+};
}

memory_form! {
    real32: u32;
    real64: u64;
    integer16: u16;
    integer32: u32;
}

fn to_st0<B: Binary>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = on_registers::<B>(cpu, 0, op.rm);
    settle(cpu, op, 0, outcome);
    Ok(())
}

fn to_sti<B: Binary, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = on_registers::<B>(cpu, op.rm, 0);
    if settle(cpu, op, op.rm, outcome) && POP {
        cpu.x87.pop();
    }
    Ok(())
}

/// `None` if either register is empty.
fn on_registers<B: Binary>(cpu: &Cpu, destination: u8, source: u8) -> Option<Outcome> {
    let operands = cpu.x87.full(destination).zip(cpu.x87.full(source));
    operands.map(|(destination, source)| B::register(cpu.x87.control, destination, source))
}

/// Writes the result, or the indefinite for a masked stack underflow. Tells whether the stack may move.
fn settle(cpu: &mut Cpu, op: &Op, destination: u8, outcome: Option<Outcome>) -> bool {
    let (completed, value) = match outcome {
        Some(outcome) => (finish(cpu, op, outcome.status, C1), outcome.st0),
        None => (stack_fault(cpu, op, 0), INDEFINITE),
    };
    if completed {
        cpu.x87.set_st(destination, value);
    }
    completed
}
