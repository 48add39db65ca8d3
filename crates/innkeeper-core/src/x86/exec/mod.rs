//! The instruction set: one file per family, and the table from iced-x86's `Code` to a handler.
//!
//! Each family exports `select(code, memory) -> Option<Handler>`: the handler for an encoding whose
//! r/m operand is memory or a register. The table asks each family once, at first use.

mod alu;
mod bits;
mod bmi;
mod branch;
mod control;
mod decimal;
mod event;
mod exchange;
mod far;
mod flags;
mod frame;
mod gate;
mod io;
mod iret;
mod misc;
mod mov;
pub mod msr;
mod muldiv;
#[cfg(test)]
mod native_tests;
mod operand;
mod platform;
mod shift;
mod sreg;
mod stack;
mod string;
mod syscall;
mod system;
mod task;
mod vector;
pub mod x87;
pub mod xsave;

use std::sync::OnceLock;

use iced_x86::Code;

use super::cpu::flag;
use super::op::Handler;

type Select = fn(Code, bool) -> Option<Handler>;

/// Every family. An encoding belongs to one; the first that answers has it.
const FAMILIES: &[Select] = &[
    alu::select,
    bits::select,
    bmi::select,
    branch::select,
    control::select,
    decimal::select,
    event::select,
    decimal::select,
    exchange::select,
    far::select,
    flags::select,
    io::select,
    iret::select,
    misc::select,
    mov::select,
    msr::select,
    muldiv::select,
    platform::select,
    shift::select,
    sreg::select,
    stack::select,
    string::select,
    syscall::select,
    system::select,
    vector::select,
    x87::select,
    xsave::select,
];

struct Table(Vec<[Option<Handler>; 2]>);

static TABLE: OnceLock<Table> = OnceLock::new();

/// The handler for an encoding, or `None` where it is not implemented (then it is #UD).
pub fn handler(code: Code, memory: bool) -> Option<Handler> {
    let table = TABLE.get_or_init(|| {
        let find = |code, memory| FAMILIES.iter().find_map(|select| select(code, memory));
        Table(Code::values().map(|code| [find(code, false), find(code, true)]).collect())
    });
    table.0[code as usize][usize::from(memory)]
}

/// DR6.BS: a single step.
pub const DR6_BS: u64 = 1 << 14;

/// Whether the instruction itself loads RFLAGS.RF, so that it is not cleared behind it.
pub fn loads_rf(code: Code) -> bool {
    matches!(code, Code::Iretw | Code::Iretd | Code::Iretq | Code::Sysretd | Code::Sysretq)
}

/// Whether TF = 1 before this instruction does not trap behind it: it delivered an event of its own,
/// or it is a system call whose mask clears TF. `rflags` is what the instruction left.
pub fn swallows_trap(code: Code, rflags: u64) -> bool {
    match code {
        Code::Int_imm8 | Code::Int3 | Code::Int1 => true,
        Code::Into | Code::Syscall => rflags & flag::TF == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
