//! FCOM, FUCOM, FICOM, FTST, FXAM, and the comparisons that set RFLAGS.

use iced_x86::Code;

use super::host::{self, Binary, Compare, Examine, Outcome, Test, Unary};
use super::{C0, C1, C2, C3, IE, SF, enter, finish};
use crate::x86::cpu::{Cpu, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

const RELATION: u16 = C0 | C2 | C3;

/// Which comparison, and what the instruction pops.
type Relate = fn(u16, u128, u128) -> Outcome;

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fcom_m32fp => |cpu, op| memory(cpu, op, Compare::real32, 0),
        Code::Fcomp_m32fp => |cpu, op| memory(cpu, op, Compare::real32, 1),
        Code::Fcom_m64fp => |cpu, op| memory(cpu, op, Compare::real64, 0),
        Code::Fcomp_m64fp => |cpu, op| memory(cpu, op, Compare::real64, 1),
        Code::Ficom_m16int => |cpu, op| memory(cpu, op, Compare::integer16, 0),
        Code::Ficomp_m16int => |cpu, op| memory(cpu, op, Compare::integer16, 1),
        Code::Ficom_m32int => |cpu, op| memory(cpu, op, Compare::integer32, 0),
        Code::Ficomp_m32int => |cpu, op| memory(cpu, op, Compare::integer32, 1),
        Code::Fcom_st0_sti | Code::Fcom_st0_sti_DCD0 => |cpu, op| register(cpu, op, op.rm, ORDERED, 0),
        Code::Fcomp_st0_sti | Code::Fcomp_st0_sti_DCD8 | Code::Fcomp_st0_sti_DED0 => {
            |cpu, op| register(cpu, op, op.rm, ORDERED, 1)
        }
        Code::Fcompp => |cpu, op| register(cpu, op, 1, ORDERED, 2),
        Code::Fucom_st0_sti => |cpu, op| register(cpu, op, op.rm, UNORDERED, 0),
        Code::Fucomp_st0_sti => |cpu, op| register(cpu, op, op.rm, UNORDERED, 1),
        Code::Fucompp => |cpu, op| register(cpu, op, 1, UNORDERED, 2),
        Code::Fcomi_st0_sti => |cpu, op| to_rflags(cpu, op, ORDERED, 0),
        Code::Fcomip_st0_sti => |cpu, op| to_rflags(cpu, op, ORDERED, 1),
        Code::Fucomi_st0_sti => |cpu, op| to_rflags(cpu, op, UNORDERED, 0),
        Code::Fucomip_st0_sti => |cpu, op| to_rflags(cpu, op, UNORDERED, 1),
        Code::Ftst => ftst,
        Code::Fxam => fxam,
        _ => return None,
    })
}

const ORDERED: Relate = Compare::register;
const UNORDERED: Relate = host::compare_unordered;

/// The status after comparing; an empty register compares as unordered, with a stack fault.
fn relation(outcome: Option<Outcome>) -> u16 {
    outcome.map_or(IE | SF | RELATION, |outcome| outcome.status)
}

/// Enters the status, relation included, whatever is masked; pops if the instruction completes.
fn settle(cpu: &mut Cpu, op: &Op, status: u16, pops: u8) {
    if finish(cpu, op, status, RELATION | C1) {
        for _ in 0..pops {
            cpu.x87.pop();
        }
    }
}

fn memory<T: crate::x86::word::Word>(
    cpu: &mut Cpu,
    op: &Op,
    relate: fn(u16, u128, T) -> Outcome,
    pops: u8,
) -> Result<(), Stop> {
    enter(cpu)?;
    let operand = cpu.load_op(op)?;
    let outcome = cpu.x87.full(0).map(|st0| relate(cpu.x87.control, st0, operand));
    settle(cpu, op, relation(outcome), pops);
    Ok(())
}

fn on_registers(cpu: &Cpu, other: u8, relate: Relate) -> u16 {
    let pair = cpu.x87.full(0).zip(cpu.x87.full(other));
    relation(pair.map(|(st0, operand)| relate(cpu.x87.control, st0, operand)))
}

fn register(cpu: &mut Cpu, op: &Op, other: u8, relate: Relate, pops: u8) -> Result<(), Stop> {
    enter(cpu)?;
    let status = on_registers(cpu, other, relate);
    settle(cpu, op, status, pops);
    Ok(())
}

/// FCOMI and its kin: the relation goes to ZF, PF and CF. Condition bits stay, but for C1 of a stack
/// fault.
fn to_rflags(cpu: &mut Cpu, op: &Op, relate: Relate, pops: u8) -> Result<(), Stop> {
    enter(cpu)?;
    let status = on_registers(cpu, op.rm, relate);
    let conditions = if status & SF != 0 { C1 } else { 0 };
    let flags = [(C3, flag::ZF), (C2, flag::PF), (C0, flag::CF)];
    cpu.set_status(flags.into_iter().filter(|(bit, _)| status & bit != 0).map(|(_, flag)| flag).sum());
    if finish(cpu, op, status, conditions) {
        for _ in 0..pops {
            cpu.x87.pop();
        }
    }
    Ok(())
}

fn ftst(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let outcome = cpu.x87.full(0).map(|st0| Test::run(cpu.x87.control, st0));
    settle(cpu, op, relation(outcome), 0);
    Ok(())
}

/// Classifies ST(0); an empty register is a class, not a fault, and has a sign.
fn fxam(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let found = Examine::run(cpu.x87.control, cpu.x87.st(0)).status & (RELATION | C1);
    let status = if cpu.x87.full(0).is_some() { found } else { found & C1 | C3 | C0 };
    finish(cpu, op, status, RELATION | C1);
    Ok(())
}
