//! The instruction set: one file per family, and the table from iced-x86's `Code` to a handler.
//!
//! Each family exports `select(code, memory) -> Option<Handler>`: the handler for an encoding whose
//! r/m operand is memory or a register. The table asks each family once, at first use.

mod alu;
mod bits;
mod bmi;
mod branch;
pub(super) mod control;
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
pub mod mmx;
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

use iced_x86::{Code, FlowControl};

use super::cpu::{Cpu, flag};
pub use bits::without_prefix;

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
    mmx::select,
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

/// Whether a single-step trap comes behind an instruction that was executed with TF set. `next`: what
/// follows it in memory.
pub fn traps(cpu: &Cpu, code: Code, next: u64) -> bool {
    match code {
        // They delivered an event of their own, or their trap goes by TF as they left it.
        Code::Int_imm8 | Code::Int3 | Code::Int1 => false,
        Code::Into | Code::Syscall | Code::Sysretd | Code::Sysretq => cpu.has_flag(flag::TF),
        // DEBUGCTL.BTF: only branches trap (Intel SDM vol. 3, 17.4.3).
        _ if cpu.msrs.debug_ctl & msr::DEBUG_CTL_BTF != 0 => {
            code.flow_control() != FlowControl::Next && cpu.rip() != next
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
