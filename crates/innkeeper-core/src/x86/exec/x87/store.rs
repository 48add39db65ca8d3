//! Stores from the register stack: FST, FIST, FISTTP, FBSTP and their popping forms.

use iced_x86::Code;

use super::host::{
    Store, ToDecimal, ToInteger16, ToInteger32, ToInteger64, ToReal32, ToReal64, Truncated16, Truncated32,
    Truncated64,
};
use super::{BEFORE, C1, IE, INDEFINITE, OE, SF, UE, enter, finish, stack_fault};
use crate::x86::cpu::Cpu;
use crate::x86::exec::xsave::store_bytes;
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fst_m32fp => fst::<ToReal32, 4, false>,
        Code::Fst_m64fp => fst::<ToReal64, 8, false>,
        Code::Fstp_m32fp => fst::<ToReal32, 4, true>,
        Code::Fstp_m64fp => fst::<ToReal64, 8, true>,
        Code::Fist_m16int => fst::<ToInteger16, 2, false>,
        Code::Fist_m32int => fst::<ToInteger32, 4, false>,
        Code::Fistp_m16int => fst::<ToInteger16, 2, true>,
        Code::Fistp_m32int => fst::<ToInteger32, 4, true>,
        Code::Fistp_m64int => fst::<ToInteger64, 8, true>,
        Code::Fisttp_m16int => fst::<Truncated16, 2, true>,
        Code::Fisttp_m32int => fst::<Truncated32, 4, true>,
        Code::Fisttp_m64int => fst::<Truncated64, 8, true>,
        Code::Fbstp_m80bcd => fst::<ToDecimal, 10, true>,
        Code::Fstp_m80fp => fstp_m80,
        Code::Fst_sti => fst_sti::<false>,
        Code::Fstpnce_sti => fstpnce,
        Code::Fstp_sti | Code::Fstp_sti_DFD0 | Code::Fstp_sti_DFD8 => fst_sti::<true>,
        _ => return None,
    })
}

fn fst<S: Store, const N: usize, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    const { assert!(S::BYTES == N) };
    enter(cpu)?;
    let (status, value) = match cpu.x87.full(0).map(|st0| S::run(cpu.x87.control, st0)) {
        Some(outcome) => (outcome.status, outcome.st1),
        None => (IE | SF, S::INDEFINITE),
    };
    // Memory is not a register: unmasked overflow and underflow, too, leave it alone.
    let stored = status & !cpu.x87.control & (BEFORE | OE | UE) == 0;
    if stored {
        store_bytes(cpu, op, &value.to_le_bytes()[..N])?;
    }
    finish(cpu, op, status, C1);
    if stored && POP {
        cpu.x87.pop();
    }
    Ok(())
}

/// Stores the register as it is, NaN or not; only the stack can fault.
fn fstp_m80(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = cpu.x87.full(0);
    if value.is_some() || cpu.x87.control & IE != 0 {
        store_bytes(cpu, op, &value.unwrap_or(INDEFINITE).to_le_bytes()[..10])?;
    }
    let completed = match value {
        Some(_) => finish(cpu, op, 0, C1),
        None => stack_fault(cpu, op, 0),
    };
    if completed {
        cpu.x87.pop();
    }
    Ok(())
}

fn fst_sti<const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    enter(cpu)?;
    let value = cpu.x87.full(0);
    let completed = match value {
        Some(_) => finish(cpu, op, 0, C1),
        None => stack_fault(cpu, op, 0),
    };
    if completed {
        cpu.x87.set_st(op.rm, value.unwrap_or(INDEFINITE));
        if POP {
            cpu.x87.pop();
        }
    }
    Ok(())
}

/// An undocumented alias of FSTP that does not fault on an empty register but only pops it.
fn fstpnce(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if cpu.x87.full(0).is_some() {
        return fst_sti::<true>(cpu, op);
    }
    enter(cpu)?;
    finish(cpu, op, 0, C1);
    cpu.x87.pop();
    Ok(())
}
