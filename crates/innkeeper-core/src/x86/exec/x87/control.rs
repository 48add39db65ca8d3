//! Instructions that control the FPU or move its stack pointer, and compute nothing.

use iced_x86::Code;

use super::{BUSY, C1, ES, EXCEPTIONS, SF, available, enter, settle_pending};
use crate::x86::cpu::{Cpu, RAX, cr};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fninit => fninit,
        Code::Fnclex => fnclex,
        Code::Fnstsw_AX => fnstsw_ax,
        Code::Fnstsw_m2byte => fnstsw,
        Code::Fnstcw_m2byte => fnstcw,
        Code::Fldcw_m2byte => fldcw,
        Code::Wait => wait,
        // The 8087's interrupt switches and the 80287's mode switches do nothing since the 80387.
        Code::Fneni | Code::Fndisi | Code::Fnsetpm | Code::Frstpm => |cpu, _| available(cpu),
        Code::Fnop => |cpu, op| {
            enter(cpu)?;
            super::finish(cpu, op, 0, 0);
            Ok(())
        },
        Code::Fincstp => |cpu, op| rotate(cpu, op, 1),
        Code::Fdecstp => |cpu, op| rotate(cpu, op, 7),
        Code::Ffree_sti => |cpu, op| {
            enter(cpu)?;
            super::finish(cpu, op, 0, 0);
            cpu.x87.free(op.rm);
            Ok(())
        },
        Code::Ffreep_sti => |cpu, op| {
            enter(cpu)?;
            super::finish(cpu, op, 0, 0);
            cpu.x87.free(op.rm);
            cpu.x87.pop();
            Ok(())
        },
        _ => return None,
    })
}

fn fninit(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    cpu.x87.init();
    Ok(())
}

fn fnclex(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    cpu.x87.status &= !(EXCEPTIONS | SF | ES | BUSY);
    Ok(())
}

fn fnstsw_ax(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    let word = cpu.x87.status_word();
    cpu.set_reg::<u16>(RAX as u8, word);
    Ok(())
}

fn fnstsw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    let word = cpu.x87.status_word();
    cpu.store_op(op, word)
}

fn fnstcw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    available(cpu)?;
    let word = cpu.x87.control;
    cpu.store_op(op, word)
}

fn fldcw(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let word = cpu.load_op(op)?;
    cpu.x87.set_control(word);
    Ok(())
}

fn wait(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    let both = cr::CR0_MP | cr::CR0_TS;
    if cpu.cr0 & both == both {
        return Err(cpu.nm());
    }
    settle_pending(cpu)
}

fn rotate(cpu: &mut Cpu, op: &Op, by: u8) -> Result<(), Stop> {
    enter(cpu)?;
    super::finish(cpu, op, 0, C1);
    cpu.x87.top = cpu.x87.top.wrapping_add(by) & 7;
    Ok(())
}
